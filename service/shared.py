"""The folder of processes that serve together: their metrics, who is warm, and who failed first."""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from service import SHARED_FOLDER

# Two slots a process, of two numbers of four bytes: when it reloads, BentoML's supervisor starts the next
# processes before it stops the last, and numbers them on.
COUNT_BYTES = 2 * 2 * 4
COMPUTING, ROWS = "computing", "rows"


def share(processes: int) -> None:
    """In BentoML's supervisor: give the processes that it starts a folder, until it ends. Raises OSError."""
    place = os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="ganserve-")
    atexit.register(remove)
    # For as long as this process keeps it open: systemd would clean up old files around it (tmpfiles.d(5)).
    fcntl.flock(os.open(place, os.O_RDONLY), fcntl.LOCK_EX)
    for name in (COMPUTING, ROWS):
        (Path(place) / name).write_bytes(bytes(COUNT_BYTES * processes))


def remove() -> None:
    """Remove the folder, if there is one."""
    if name := os.environ.pop(SHARED_FOLDER, None):
        shutil.rmtree(name, ignore_errors=True)


def folder() -> Path | None:
    """The folder; None where a process serves alone."""
    name = os.environ.get(SHARED_FOLDER)
    return Path(name) if name else None


def counts(name: str) -> Path | None:
    """The file with COUNT_BYTES for each process: COMPUTING or ROWS."""
    place = folder()
    return place and place / name


def tell_that_warm() -> None:
    """Let the others know that this process has warmed up. Raises OSError."""
    if place := folder():
        (place / f"warm-{os.getpid()}").touch()


def all_warmed_up(processes: int) -> bool:
    """Whether so many have; one that has died since, and is being replaced, counts."""
    place = folder()
    return place is None or len(list(place.glob("warm-*"))) >= processes


def first_to_fail() -> bool:
    """Whether no other process has failed before, so that what they share is said once."""
    place = folder()
    if place is None:
        return True
    try:
        (place / "failed").touch(exist_ok=False)
    except OSError:
        return False
    return True


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
