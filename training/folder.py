"""Which files of a folder are images, and of which class: its first-level subfolders are the classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from training.data_errors import DataError, NoSplit

SPLITS = {"train", "test", "validation", "valid", "val"}
# Pictures that Pillow cannot read, to be named as unreadable instead of passed over.
FOREIGN = {".heic", ".heif", ".jxl", ".svg", ".raw", ".cr2", ".nef", ".arw", ".dng"}


@dataclass(frozen=True)
class ImageFolder:
    """Files, the class number of each (0 when there are no classes), and the names of the classes."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def read_folder(path: Path, split: str) -> ImageFolder:
    """The images of a split; a folder whose only subfolders are called like splits has splits.

    Other folders are the split "train". Hidden entries, and those that begin with "__", are passed over.
    Raises DataError, and NoSplit where the split is not there.
    """
    names = {child.name for child in visible(path) if child.is_dir()}
    if {"train", "test"} <= names and names - SPLITS:
        raise DataError(
            f"{path} holds train/ and test/ beside {', '.join(sorted(names - SPLITS))}; "
            "leave either splits in it, or classes"
        )
    if names and names <= SPLITS:
        if split not in names:
            raise NoSplit(path, split)
        return _read_classes(path / split)
    if split != "train":
        raise NoSplit(path, split)
    return _read_classes(path)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes as they are numbered: numbers by their size, others by the alphabet."""
    known = list(names)
    numeric = all(name.isascii() and name.isdecimal() for name in known)
    return sorted(known, key=lambda name: (int(name) if numeric else 0, name))


def _read_classes(path: Path) -> ImageFolder:
    flat = [child for child in visible(path) if _is_image(child)]
    folders = [path / name for name in in_order(child.name for child in visible(path) if child.is_dir())]
    if not folders:
        if not flat:
            raise DataError(f"{path} holds no images that can be read")
        return ImageFolder(tuple(flat), (0,) * len(flat), ())
    if flat:
        raise DataError(
            f"{path} holds images beside folders of images, such as {flat[0].name}; "
            "put each into the folder of its class, or all into one folder"
        )
    above = (path.resolve(),)
    files = [(file, number) for number, folder in enumerate(folders) for file in _images_under(folder, above)]
    if not files:
        raise DataError(f"{path} holds no images that can be read")
    return ImageFolder(
        tuple(file for file, _ in files),
        tuple(number for _, number in files),
        tuple(folder.name for folder in folders),
    )


def _images_under(folder: Path, above: tuple[Path, ...]) -> list[Path]:
    """Of a folder, at whatever depth; `above`, without links, are those that it is in."""
    here = folder.resolve()
    if any(up.is_relative_to(here) for up in above):
        raise DataError(f"{folder} leads back to {here}, which it is in; remove that link")
    found = []
    for child in visible(folder):
        if child.is_dir():
            found += _images_under(child, (*above, here))
        elif _is_image(child):
            found.append(child)
    return found


def visible(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in order. Raises DataError."""
    children = sorted(child for child in folder.iterdir() if not child.name.startswith((".", "__")))
    for child in children:
        if not _is_text(child.name) and (child.is_dir() or _is_image(child)):
            raise DataError(f"{folder} holds {child.name!a}, which is no UTF-8; rename it")
    return children


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return False
    suffix = path.suffix.lower()
    return suffix in FOREIGN or Image.registered_extensions().get(suffix) in Image.OPEN


def _is_text(name: str) -> bool:
    """Whether a name can be written to the cache."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
