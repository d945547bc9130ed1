"""What comes before the command line: the imports that it needs."""

import subprocess
import sys
import sysconfig
from pathlib import Path


def test_the_installed_command_says_when_training_is_not_installed() -> None:
    script = (
        "import runpy, sys; sys.modules['typer'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    command = Path(sysconfig.get_path("scripts")) / "ganserve"
    ended = subprocess.run(
        [sys.executable, "-c", script, command], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("ganserve: training is not installed here (")
    assert ended.stderr.endswith("run: make test\n")


def test_an_interrupt_while_it_imports_is_no_traceback() -> None:
    script = (
        "import runpy, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'training.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "runpy.run_module('training', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
