"""What a user can mend is told in a line, with what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.shelf import Shelf
from tests.training.command import ganserve, refused


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own address space")
def test_out_of_memory_is_told_in_a_line(digits_folder: Path, cache: Path, tmp_path: Path) -> None:
    program = """
import resource, sys
from training.cli import app
from training.game import Game
from training.run import read
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
app()
"""
    options = ["--resolution", 16, "--batch", 65536]
    arguments = ["train", digits_folder, "--run", tmp_path, "--cache", cache, *options]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("ganserve: out of memory; lower --microbatch")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (("export", "--run", "."), "out of memory; export it on a machine that has more"),
        (("evaluate", "digits", "--data", "."), "out of memory; lower --images"),
    ],
)
def test_out_of_memory_each_command_names_its_own_options(
    command: tuple[str, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("training.run.read", out_of_memory)
    monkeypatch.setattr(Shelf, "find", out_of_memory)
    refused(ganserve(*command), advice)
