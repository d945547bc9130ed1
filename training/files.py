"""Files and folders that are whole or not there, whatever is killed or loses its power."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.files import naming, sync_names

ASIDE = ".part"
DAY = 86_400  # seconds


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when all went well, and is removed when not.

    What was at `path` then moves to `previous`, if that is given.
    """
    aside = path.with_name(path.name + ASIDE)
    try:
        with naming(path, aside):
            yield aside
            _sync(aside)
        if previous:
            path.replace(previous)
        aside.replace(path)
        sync_names(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when all is written, unless another process was first.

    Its name begins with a SHA-256 in hexadecimal, by which those that were never finished are known.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=ASIDE, dir=folder.parent))
    try:
        with naming(folder):
            yield aside
            os.sync()  # one file after the other, many would take minutes; what follows tells of errors
            for path in aside.rglob("*"):
                _sync(path)
        try:
            aside.rename(folder)
            sync_names(folder.parent)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders that killed processes had begun to write: what has not changed for a day."""
    for aside in parent.glob("[0-9a-f]" * 64 + f"*{ASIDE}"):
        with suppress(FileNotFoundError):  # another process removes it as well
            written = max(path.stat().st_mtime for path in (aside, *aside.iterdir()))
            if time.time() - written > DAY:
                shutil.rmtree(aside, ignore_errors=True)


def remove_leftover(path: Path) -> None:
    """Remove what `replacing` had begun to write for `path` when it was killed."""
    path.with_name(path.name + ASIDE).unlink(missing_ok=True)
