"""Install extras of Ganserve, pinned, into the environment that runs this; tell a failure in one line."""

import compileall
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

LOG = Path(sys.prefix) / "install.log"

# Wheels only: without one, pip then gives one error instead of the output of a C compiler.
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]


def main(extras: str) -> None:
    print(f"Installing {extras} into {sys.prefix}, which takes a minute or more", flush=True)
    command = [*PIP, "--no-compile", "--constraint", "constraints.txt", "--editable", f".[{extras}]"]
    with LOG.open("w") as log:
        outcome = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    if outcome.returncode:
        sys.exit(f"{reason(LOG.read_text())}; all that pip said is in {LOG}")
    # Python itself would not where PYTHONDONTWRITEBYTECODE is set, as in many containers, and each start took
    # twice as long. pip would compile on one core only; the tests of packages are never imported.
    folder = sysconfig.get_path("purelib")
    compileall.compile_dir(folder, quiet=2, workers=0, rx=re.compile(r"/tests/"))


def reason(log: str) -> str:
    if "Retry(total=0," in log:  # the last; many a download succeeds after the first
        return "The package registry cannot be reached; check the network and pip's settings"
    # where a version is pinned, pip calls a missing wheel a conflict with the pin
    missing = re.search(r"No matching distribution found for (\S+)|\(constraint\) (\S+)", log)
    if missing:
        return (
            f"No wheel of {missing[1] or missing[2]} fits Python {platform.python_version()} on "
            f"{sysconfig.get_platform()}; use Python 3.11 to 3.13 on Linux (x86-64, arm64) or an arm64 Mac"
        )
    errors = re.findall(r"^(?i:error): (.+)", log, re.MULTILINE)
    return f"pip failed: {errors[0].rstrip('.') if errors else 'it gave no reason'}"


if len(sys.argv) != 2 or sys.prefix == sys.base_prefix:
    sys.exit(
        "usage, with the Python of a virtual environment: .venv/bin/python deploy/install.py EXTRA,EXTRA"
    )
main(sys.argv[1])
