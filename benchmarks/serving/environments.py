"""An environment for each peer, under .venv-bench/, with the versions that peers/<name>.txt pins."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving.failures import NotInstalled

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-bench"
OURS = Path(sys.executable).parent

# The backend of PyTriton that runs Python fails to start under some patch releases; under Debian's it works.
_SYSTEM_PYTHON = Path("/usr/bin/python3.11")


def build(name: str) -> Path:
    """The folder of programs of the environment `name`, which is made unless it is as it should be.

    Raises NotInstalled.
    """
    folder = FOLDER / name
    requirements = Path(__file__).with_name("peers") / f"{name}.txt"
    installed = folder / "installed.txt"
    wanted = f"{_python(name)}\n{requirements.read_text()}"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {name} into {folder.relative_to(ROOT)}", flush=True)
        _run([_python(name), "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "-r", str(requirements)])
        installed.write_text(wanted)
    return folder / "bin"


def version(python: Path, package: str) -> str:
    """The version of a package under that Python."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _python(name: str) -> str:
    """The interpreter that the environment is made with: ours, where it can be."""
    if name == "triton" and _SYSTEM_PYTHON.exists():
        return str(_SYSTEM_PYTHON)
    return str(Path(sys.executable).resolve())


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.strip()]
        raise NotInstalled(
            f"{' '.join(command[1:4])} failed: {errors[-1] if errors else 'it printed nothing'}"
        )
