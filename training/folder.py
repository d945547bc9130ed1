"""Which files of a folder are images, and of which class: its first-level subfolders are the classes."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SPLITS = {"train", "test", "validation"}
# Pictures that Pillow cannot read, to be named as unreadable instead of passed over.
FOREIGN = {".heic", ".heif", ".jxl", ".svg", ".raw", ".cr2", ".nef", ".arw", ".dng"}


class FolderError(ValueError):
    """A folder whose classes are not clear."""


class NoSplitError(FolderError):
    """A folder without the split."""


@dataclass(frozen=True)
class ImageFolder:
    """Files, the class number of each (0 when there are no classes), and the names of the classes."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def read_folder(path: Path, split: str) -> ImageFolder:
    """The images of a split; a folder whose only subfolders are called like splits has splits.

    Other folders are the split "train". Hidden entries, and those that begin with "__", are passed over.
    Raises FolderError, and NoSplitError where the split is not there.
    """
    names = {child.name for child in _visible(path) if child.is_dir()}
    if {"train", "test"} <= names and names - SPLITS:
        raise FolderError(
            f"{path} holds train/ and test/ beside {', '.join(sorted(names - SPLITS))}; "
            "leave either splits in it, or classes"
        )
    if names and names <= SPLITS:
        if split not in names:
            raise NoSplitError(f"{path} has no {split} split; name other images for it")
        return _read_classes(path / split)
    if split != "train":
        raise NoSplitError(f"{path} has no {split} split; name other images for it")
    return _read_classes(path)


def _read_classes(path: Path) -> ImageFolder:
    flat = [child for child in _visible(path) if _is_image(child)]
    folders = [child for child in _visible(path) if child.is_dir()]
    if not folders:
        if not flat:
            raise FolderError(f"{path} holds no images that can be read")
        return ImageFolder(tuple(flat), (0,) * len(flat), ())
    if flat:
        raise FolderError(
            f"{path} holds images beside folders of images, such as {flat[0].name}; "
            "put each into the folder of its class, or all into one folder"
        )
    files = [(file, number) for number, folder in enumerate(folders) for file in _images_under(folder)]
    if not files:
        raise FolderError(f"{path} holds no images that can be read")
    return ImageFolder(
        tuple(file for file, _ in files),
        tuple(number for _, number in files),
        tuple(folder.name for folder in folders),
    )


def _images_under(folder: Path) -> list[Path]:
    found = []
    for child in _visible(folder):
        found += _images_under(child) if child.is_dir() else [child] if _is_image(child) else []
    return found


def _visible(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith((".", "__")))


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return False
    suffix = path.suffix.lower()
    return suffix in FOREIGN or Image.registered_extensions().get(suffix) in Image.OPEN
