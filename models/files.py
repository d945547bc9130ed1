"""Files that are still whole after the machine lost its power."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file, and wait until it is on the disk."""
    with naming(path), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def naming(path: Path, aside: Path | None = None) -> Iterator[None]:
    """An OSError in here that names no file, as that of a full disk, or `aside`, names `path` instead."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside)):
            error.filename = str(path)
        raise


def sync_names(folder: Path) -> None:
    """Wait until what was made, renamed or removed in the folder is on the disk."""
    with suppress(OSError):  # not every system and file system has this for folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
