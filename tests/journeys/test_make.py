"""What `make` says and does, in a fresh checkout of its own."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SHIPPED = [
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "deploy",
    "models",
    "service",
]
OWN_VARIABLES = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "PORT", "RUNTIME"}


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=checkout,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(outcome: subprocess.CompletedProcess[str]) -> str:
    """The one line that make gives for a failure, beside its own."""
    assert outcome.returncode != 0
    ours, its_own = outcome.stderr.splitlines()
    assert its_own.startswith("make: ***")
    return ours


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a user gets, without an environment."""
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx", "*.egg-info")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def installed(checkout: Path) -> Path:
    """A checkout that believes itself installed for the CPU."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    for stamp in ("cpu", "serve-cpu", "test-cpu"):
        (checkout / ".venv" / stamp).touch()
    return checkout


def test_help_comes_first(checkout: Path) -> None:
    outcome = make(checkout)
    assert outcome.returncode == 0
    assert "make serve" in outcome.stdout
    assert "make test" in outcome.stdout


def test_an_old_python_is_refused(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pretence = tmp_path_factory.mktemp("old")
    (pretence / "sitecustomize.py").write_text(
        "import sys\nsys.version_info = (3, 10, 13, 'final', 0)\nsys.version = '3.10.13 (main)'\n"
    )
    outcome = make(checkout, "serve", f"PYTHON={sys.executable}", PYTHONPATH=str(pretence))
    assert complaint(outcome) == (
        "Python 3.10.13 is too old: Ganserve needs 3.11 or newer. Choose one: make serve PYTHON=python3.11"
    )
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_not_there_is_named(checkout: Path) -> None:
    assert "python9" in complaint(make(checkout, "serve", "PYTHON=python9"))


def test_a_python_that_is_not_there_costs_no_environment(installed: Path) -> None:
    assert "python9" in complaint(make(installed, "serve", "RUNTIME=cpu", "PYTHON=python9"))
    assert (installed / ".venv" / "pyvenv.cfg").exists()
    assert "venv --clear" not in make(installed, "--dry-run", "serve", "RUNTIME=cpu").stdout


def test_a_busy_port_is_refused_before_the_server_starts(installed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = make(installed, "serve", "RUNTIME=cpu", f"PORT={port}")
    assert complaint(outcome) == (
        f"Port {port} cannot be used: it is taken, root's alone, or no port at all. "
        "Choose another: make serve PORT=3001"
    )


@pytest.mark.parametrize("port", ["http", "1+1", "-1", "0", "65536", ""])
def test_what_is_no_port_is_refused(installed: Path, port: str) -> None:
    line = complaint(make(installed, "serve", "RUNTIME=cpu", f"PORT={port}"))
    assert line.startswith(f"Port {port} cannot be used")


@pytest.mark.parametrize(("exit_code", "runtime"), [(0, "gpu"), (9, "cpu")])
def test_the_driver_decides_what_is_installed(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, exit_code: int, runtime: str
) -> None:
    driver = tmp_path_factory.mktemp("bin") / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    driver.chmod(0o755)
    path = f"{driver.parent}{os.pathsep}{os.environ['PATH']}"
    serve = make(checkout, "--dry-run", "serve", PATH=path).stdout
    test = make(checkout, "--dry-run", "test", PATH=path).stdout
    assert f"deploy/install.py serve,{runtime}\n" in serve
    assert f"deploy/install.py serve,train,test,{runtime}\n" in test


def test_a_second_start_installs_nothing(installed: Path) -> None:
    commands = make(installed, "--dry-run", "serve", "RUNTIME=cpu", "PORT=3456").stdout
    assert "venv .venv" not in commands
    assert "install" not in commands
    assert "bentoml serve service.service:Ganserve --port 3456" in commands


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_dependencies_are_installed(installed: Path, name: str) -> None:
    stamp = (installed / ".venv" / "serve-cpu").stat().st_mtime_ns
    os.utime(installed / name, ns=(stamp + 10**9, stamp + 10**9))
    commands = make(installed, "--dry-run", "serve", "RUNTIME=cpu").stdout
    assert "deploy/install.py serve,cpu" in commands
    assert "venv --clear" not in commands


def test_an_environment_of_another_python_is_made_anew(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("bin") / "python9"
    other.write_text("#!/bin/sh\necho Python 9.0.1\n")
    other.chmod(0o755)
    assert "venv --clear" not in make(installed, "--dry-run", "serve", "RUNTIME=cpu").stdout
    same = make(installed, "--dry-run", "serve", "RUNTIME=cpu", f"PYTHON={sys.executable}").stdout
    assert "venv --clear" not in same
    commands = make(installed, "--dry-run", "serve", "RUNTIME=cpu", f"PYTHON={other}").stdout
    assert f"{other} -m venv --clear .venv" in commands
    assert "deploy/install.py serve,cpu" in commands


def test_an_environment_whose_python_is_gone_is_made_anew(installed: Path) -> None:
    for python in (installed / ".venv" / "bin").glob("python*"):
        python.unlink()
    assert "venv --clear" in make(installed, "--dry-run", "serve", "RUNTIME=cpu").stdout


def test_another_runtime_gets_an_environment_of_its_own(installed: Path) -> None:
    commands = make(installed, "--dry-run", "serve", "RUNTIME=gpu").stdout
    assert "venv --clear .venv" in commands
    assert "deploy/install.py serve,gpu" in commands


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux does Python let itself be renamed so")
def test_failed_installations_are_told_in_one_line_and_tried_again(checkout: Path) -> None:
    port = f"PORT={free_port()}"
    foreign = make(
        checkout,
        "serve",
        f"PYTHON={sys.executable}",
        "RUNTIME=cpu",
        port,
        _PYTHON_HOST_PLATFORM="linux-riscv64",
    )
    line = complaint(foreign)
    assert line.startswith("No wheel of ")
    assert "on linux-riscv64; use Python 3.11 to 3.13 on Linux (x86-64, arm64) or an arm64 Mac" in line
    assert str(checkout / ".venv" / "install.log") in line

    nobody = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    unreachable = make(checkout, "serve", "RUNTIME=cpu", port, **nobody)
    assert complaint(unreachable).startswith("The package registry cannot be reached; check the network")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("No matching distribution found for torch==2.9", "No wheel of torch==2.9 fits Python "),
        ("Could not install packages due to an OSError: disk full", "pip failed: Could not install "),
    ],
)
def test_a_download_that_was_tried_again_is_not_what_failed(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, error: str, line: str
) -> None:
    pip = tmp_path_factory.mktemp("pip")
    log = f"WARNING: Retrying (Retry(total=4, connect=None)) after connection broken\nERROR: {error}"
    (pip / "pip.py").write_text(f"raise SystemExit({log!r})")
    (installed / ".venv" / "serve-cpu").unlink()
    outcome = make(installed, "serve", "RUNTIME=cpu", f"PORT={free_port()}", PYTHONPATH=str(pip))
    assert complaint(outcome).startswith(line)


def test_the_installer_says_how_it_is_used(checkout: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "deploy/install.py"], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("usage, with the Python of a virtual environment")
