"""A training run's state on disk, replaced in one step so that a kill never leaves half of it."""

import io
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from training.files import replacing


class Stateful(Protocol):
    """Anything that torch can save and restore: a module, an optimizer, the loop's own state."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another shape."""


def save(path: Path, parts: dict[str, Stateful]) -> None:
    """Write the state of all parts to `path`, aside first, then renamed over what was there.

    Raises CheckpointError when it cannot be written; what was there stays.
    """
    # into memory first: torch tells a full disk as an error of its own format
    content = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, content)
    try:
        with replacing(path) as aside, aside.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}); the last checkpoint is kept"
        ) from None


def load(path: Path, parts: dict[str, Stateful]) -> None:
    """Restore the parts that `save` wrote; those of the file that are not asked for stay unread.

    Raises CheckpointError.
    """
    try:
        states = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}; was the run started?") from None
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a damaged file
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from None
    for name, part in parts.items():
        if name not in states:
            raise CheckpointError(f"the checkpoint {path} holds no {name}")
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the {name} of the checkpoint {path} does not fit: {error}") from None
