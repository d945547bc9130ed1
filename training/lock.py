"""One process at a time trains in a run folder."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from training import processes
from training.run import RunError

LOCK = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs from training in the folder, which is made when there is none. Raises RunError.

    Of the processes of one run the first does so for all. The file stays, since to remove it would let two
    in; the system unlocks it when the process ends, however that is.
    """
    with ExitStack() as held:

        def lock() -> bool:
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((folder / LOCK).open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not processes.of_the_first(lock):
            raise RunError(
                f"another process trains in {folder}; wait until it has ended, or name another --run"
            )
        yield
