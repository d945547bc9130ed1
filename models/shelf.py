"""Find, check, list and place exported generators: `<root>/<name>/<version>/model.onnx` and its digest."""

import builtins
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import onnx
from google.protobuf.message import DecodeError

from models.contract import Contract, ContractError, InvalidOnnx, check
from models.files import sync_names, write_durably
from models.mistake import Mistake

MODEL_FILE = "model.onnx"
DIGEST_FILE = "model.onnx.sha256"
LOST = "lost+found"  # at the top of a disk, and closed to all but root


class ShelfError(Mistake):
    """What stands on the shelf, or does not; the message is one line for an operator.

    ShelfError
    ├── NoShelf          the shelf's folder does not exist
    ├── NotOnShelf       no such generator, or no such version of it
    ├── Incomplete       a version without its model or without its digest
    ├── DigestMismatch   the file is not the one whose digest was recorded
    └── Misplaced        the file names itself otherwise than its folder
    """


class NoShelf(ShelfError): ...


class NotOnShelf(ShelfError): ...


class Incomplete(ShelfError): ...


class DigestMismatch(ShelfError): ...


class Misplaced(ShelfError): ...


@dataclass(frozen=True)
class Generator:
    """An exported generator that passed every check; `digest` is the SHA-256 of the file at `path` in hex."""

    name: str
    version: int
    path: Path
    digest: str
    contract: Contract

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"


class Shelf:
    """A folder of generators, laid out as a Triton model repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> builtins.list[Generator]:
        """Every generator, by name, the newest version first.

        Raises ShelfError or ContractError for the first file that is refused.
        """
        return [self._read(name, version) for name, version in self._references()]

    def find(self, reference: str) -> Generator:
        """The generator called "name" (its newest version) or "name:version".

        Raises NotOnShelf, or ShelfError or ContractError when the file is refused.
        """
        references = self._references()
        for name, version in references:
            if reference in (name, f"{name}:{version}"):
                return self._read(name, version)
        present = ", ".join(f"{name}:{version}" for name, version in references) or "nothing"
        raise NotOnShelf(f"no generator {reference!r} in {self.root}; there is {present}")

    def place(self, model: onnx.ModelProto) -> Generator:
        """Check the model and write it as the next version of its name; a version is never overwritten.

        Raises ContractError, and then writes nothing.
        """
        name = check(model).name
        folder = self.root / name
        aside = folder / f".{uuid4().hex}"
        aside.mkdir(parents=True)
        try:
            write_durably(aside / MODEL_FILE, model.SerializeToString())
            write_durably(aside / DIGEST_FILE, f"{digest(aside / MODEL_FILE)}  {MODEL_FILE}\n".encode())
            sync_names(aside)
            version = _rename_to_next_version(aside)
            sync_names(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return self._read(name, version)

    def _references(self) -> builtins.list[tuple[str, int]]:
        if not self.root.is_dir():
            raise NoShelf(
                f"{self.root.absolute()} is not a folder; "
                f"expected one with <name>/<version>/{MODEL_FILE} in it"
            )
        names = sorted(
            entry
            for entry in self.root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".") and entry.name != LOST
        )
        return [
            (entry.name, version) for entry in names for version in sorted(_versions(entry), reverse=True)
        ]

    def _read(self, name: str, version: int) -> Generator:
        path = self.root / name / str(version) / MODEL_FILE
        found = _checked_digest(path)
        try:
            model = onnx.load(path, load_external_data=False)
            contract = check(model)
        except DecodeError:
            raise InvalidOnnx(
                f"{path}: not an ONNX model, or a truncated one; copy or export it again"
            ) from None
        except ContractError as error:
            raise type(error)(f"{path}: {error}") from None
        if contract.name != name:
            raise Misplaced(
                f"{path}: the file calls itself {contract.name!r}; move it to a folder of that name"
            )
        return Generator(name, version, path, found, contract)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions(folder: Path) -> Iterator[int]:
    """As in Triton, a version is a folder named by a number without leading zeros; the rest is not read."""
    for entry in folder.iterdir():
        if re.fullmatch("[1-9][0-9]*", entry.name) and entry.is_dir():
            yield int(entry.name)


def _rename_to_next_version(aside: Path) -> int:
    while True:
        version = max(_versions(aside.parent), default=0) + 1
        target = aside.with_name(str(version))
        try:
            aside.rename(target)
        except OSError:
            if not target.exists():
                raise
        else:
            return version


def _checked_digest(path: Path) -> str:
    recorded = path.with_name(DIGEST_FILE)
    for file in (path, recorded):
        if not file.is_file():
            raise Incomplete(f"{path.parent}: {file.name} is missing; copy the whole folder again")
    expected = recorded.read_text(errors="replace").split(maxsplit=1)[:1]
    if expected != [found := digest(path)]:
        raise DigestMismatch(
            f"{path}: its SHA-256 is {found}, but {recorded.name} records {' '.join(expected) or 'none'}; "
            "copy both again"
        )
    return found
