"""One process at a time trains in a run folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training import processes
from training.run import RunError

LOCK = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs from training in the folder, which is made when there is none. Raises RunError.

    Of the processes of one run the first alone does so. The file stays, since to remove it would let two in;
    the system unlocks it when the process ends, however that is.
    """
    if not processes.is_first():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another process trains in {folder}; wait until it has ended, or name another --run"
            ) from None
        yield
