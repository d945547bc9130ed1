"""A training run's state on disk: the newest checkpoint, and the one before it for when that is damaged."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from training.files import replacing

DIGEST_SIZE = hashlib.sha256().digest_size


class Stateful(Protocol):
    """Anything that torch can save and restore: a module, an optimizer, the loop's own state."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another shape."""


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
    keep = None if _damage(path) else previous(path)
    with replacing(path, keep) as aside:
        aside.write_bytes(content.getbuffer())


def load(path: Path, parts: dict[str, Stateful]) -> str | None:
    """Restore the parts that `save` wrote; those of the file that are not asked for stay unread.

    When the newest checkpoint is damaged or gone, restores the previous one and gives a line that says so.
    Raises CheckpointError, also when neither can be read.
    """
    if not exists(path):
        raise CheckpointError(f"there is no checkpoint at {path}; was the run started?")
    source, damage = path, _damage(path)
    if damage:
        source = previous(path)
        if older := _damage(source):
            raise CheckpointError(
                f"the checkpoint {path} {damage}, and {source.name} {older}; restore one of them from a "
                "backup, or remove them to begin the run again"
            )
    states = torch.load(source, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        if name not in states:
            raise CheckpointError(f"the checkpoint {source} holds no {name}")
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the {name} of the checkpoint {source} does not fit: {error}") from None
    return f"the checkpoint {path} {damage}; went back to {source.name}" if damage else None


def _seal(content: io.BytesIO) -> None:
    """Give a zip file, as torch writes it, a comment at its end: the SHA-256 of all that stands before it."""
    content.seek(-2, os.SEEK_END)  # where the length of the comment stands
    content.write(DIGEST_SIZE.to_bytes(2, "little"))
    content.write(hashlib.sha256(content.getbuffer()).digest())


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, if anything: torch itself reads flipped bytes without a word."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if hashlib.sha256(content[:-DIGEST_SIZE]).digest() != content[-DIGEST_SIZE:]:
        return "is damaged (it does not match its digest)"
    return None
