"""When the memory under load cannot be measured."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving.environments import ROOT
from benchmarks.serving.failures import LoadFailed
from benchmarks.serving.load import Outcome
from benchmarks.serving.memory import check


def test_a_load_that_is_not_answered_is_no_load() -> None:
    check(Outcome(good=10, refused=0, errors=0, p50_ms=1, p99_ms=2))
    for good, errors in ((0, 0), (10, 1)):
        with pytest.raises(LoadFailed, match=f"^{good} good answers a second, and {errors} errors"):
            check(Outcome(good=good, refused=0, errors=errors, p50_ms=1, p99_ms=2))


@pytest.mark.parametrize("command", ["benchmarks.serving", "benchmarks.serving.memory"])
def test_without_wrk_a_line_says_where_to_get_it(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "wrk makes the load and is not there: apt-get install wrk\n"
