"""Finished parts of an evaluation, kept so that an interrupted one does not begin from nothing."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from training.files import replacing

Kind = TypeVar("Kind", bound=BaseModel)


class Kept:
    """A folder of finished parts, one a set of `settings`; another set finds none of them."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self._folder = folder / key

    def part(self, name: str, kind: type[Kind], measure: Callable[[], Kind]) -> Kind:
        """The part as it was kept, or else as measured now."""
        path = self._folder / f"{name}.json"
        try:
            return kind.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):  # or kept by another version of this code
            measured = measure()
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_text(measured.model_dump_json(), encoding="utf-8")
        return measured

    def forget(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
