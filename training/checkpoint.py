"""A training run's state on disk: the newest checkpoint, and the one before it for when that is damaged."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from models.mistake import Mistake
from training.files import replacing

DIGEST_SIZE = hashlib.sha256().digest_size


class Stateful(Protocol):
    """Anything that torch can save and restore: a module, an optimizer, the loop's own state."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class CheckpointError(Mistake):
    """A checkpoint that is missing, damaged or of another shape."""


class AllDamaged(CheckpointError):
    """Neither the newest checkpoint nor the one before it can be read."""


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_stem(f"{path.stem}.previous")


def exists(path: Path) -> bool:
    """Whether anything was ever saved to `path`."""
    return path.exists() or previous(path).exists()


def save(path: Path, parts: dict[str, Stateful]) -> None:
    """Write the state of all parts to `path`; what was there becomes the previous checkpoint.

    Raises OSError when it cannot be written; what was there stays.
    """
    # into memory first: torch tells a full disk as an error of its own format
    content = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, content)
    _seal(content)
    # a damaged one must not take the place of a good one
    try:
        _read(path)
        keep = previous(path)
    except _Damaged:
        keep = None
    with replacing(path, keep) as aside:
        aside.write_bytes(content.getbuffer())


def load(path: Path, parts: dict[str, Stateful]) -> str | None:
    """Restore the parts that `save` wrote; those of the file that are not asked for stay unread.

    When the newest checkpoint is damaged or gone, restores the previous one and gives a line that says so.
    Raises CheckpointError; AllDamaged when neither can be read.
    """
    if not exists(path):
        raise CheckpointError(f"there is no checkpoint at {path}; was the run started?")
    source, news = path, None
    try:
        content = _read(path)
    except _Damaged as damage:
        source = previous(path)
        try:
            content = _read(source)
        except _Damaged as older:
            raise AllDamaged(
                f"the checkpoint {path} {damage}, and {source.name} {older}; "
                "restore one of them from a backup"
            ) from None
        news = f"the checkpoint {path} {damage}; went back to {source.name}"
    states = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for name, part in parts.items():
        if name not in states:
            raise CheckpointError(f"the checkpoint {source} holds no {name}")
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the {name} of the checkpoint {source} does not fit: {error}") from None
    return news


def _seal(content: io.BytesIO) -> None:
    """Give a zip file, as torch writes it, a comment at its end: the SHA-256 of all that stands before it."""
    content.seek(-2, os.SEEK_END)  # where the length of the comment stands
    content.write(DIGEST_SIZE.to_bytes(2, "little"))
    content.write(hashlib.sha256(content.getbuffer()).digest())


class _Damaged(Exception):
    """What is wrong with a checkpoint."""


def _read(path: Path) -> bytes:
    """All bytes of a checkpoint; torch itself reads flipped ones without a word. Raises _Damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _Damaged("is gone") from None
    except OSError as error:
        raise _Damaged(f"cannot be read ({error.strerror})") from None
    sealed, digest = memoryview(content)[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if hashlib.sha256(sealed).digest() != digest:
        raise _Damaged("is damaged (it does not match its digest)")
    return content
