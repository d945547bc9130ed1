"""Where images come from: a table of image files and labels, found by Hugging Face datasets."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from training.data_errors import DataError
from training.files import replacing_folder
from training.folder import in_order, read_folder, visible


def find_table(source: str, split: str, cache: Path) -> tuple[datasets.Dataset, str]:
    """The rows of a split of the source, and a key that changes with its files. Raises DataError."""
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() == ".zip":
        path = _unpack(path, cache)
    if path.is_dir() and not any(path.rglob("*.parquet")):
        return _folder_table(path, split)
    if not path.exists() and (path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1):
        raise DataError(
            f"{source} does not exist; expected a folder of images, a zip of one, a parquet file or folder, "
            "or the id of a data set on the Hugging Face hub, such as ylecun/mnist"
        )
    if not path.exists():
        print(f"{source} is no file or folder here; looking it up on the Hugging Face hub", file=sys.stderr)
    options: dict[str, Any] = {"split": split, "cache_dir": str(cache / "tables")}
    if path.is_file():
        if path.suffix != ".parquet":
            raise DataError(f"{source} is a file, but neither a zip nor a parquet file")
        table = datasets.load_dataset("parquet", data_files={"train": str(path)}, **options)
    else:
        table = datasets.load_dataset(str(path) if path.exists() else source, **options)
    # the fingerprint is how datasets names the state of the files; it has no public accessor
    return table, table._fingerprint  # noqa: SLF001


def _folder_table(path: Path, split: str) -> tuple[datasets.Dataset, str]:
    found = read_folder(path, split)
    columns: dict[str, list[Any]] = {"image": [str(file) for file in found.files]}
    features: dict[str, Any] = {"image": datasets.Image()}
    if found.classes:
        columns["label"] = list(found.labels)
        features["label"] = datasets.ClassLabel(names=list(found.classes))
    state = hashlib.sha256(json.dumps(found.classes).encode())
    for file in found.files:
        status = file.stat() if file.exists() else None  # a broken link is an unreadable image
        state.update(f"{file}\0{status and (status.st_size, status.st_mtime_ns)}\0".encode())
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features)), state.hexdigest()


def _unpack(archive: Path, cache: Path) -> Path:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache / "archives" / digest
    if not folder.exists():
        with replacing_folder(folder) as aside, zipfile.ZipFile(archive) as opened:
            opened.extractall(aside)
    # a zip of a folder holds that folder, not the class folders, at its top
    while True:
        match visible(folder):
            case [inside] if inside.is_dir() and any(child.is_dir() for child in visible(inside)):
                folder = inside
            case _:
                return folder


def image_column(table: datasets.Dataset, source: str, wanted: str | None) -> str:
    """The wanted column, or else the only one, of images. Raises DataError."""
    images = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    if not images:
        raise DataError(
            f"{source} has no image column; expected the schema of the Hugging Face hub: `image`, and "
            f"`label` for classes; found {', '.join(table.features)}"
        )
    if wanted is None and len(images) > 1:
        raise DataError(
            f"{source} has several image columns; choose one of {', '.join(images)} with --column"
        )
    if wanted is not None and wanted not in images:
        raise DataError(f"{source} has no image column {wanted}; it has {', '.join(images)}")
    return wanted or images[0]


def read_columns(
    table: datasets.Dataset, source: str, image: str
) -> tuple[datasets.Column, NDArray[np.int64], tuple[str, ...]]:
    """The image files, their labels (all 0 without classes), and the names of the classes, two at least.

    Raises DataError.
    """
    labels = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    label = "label" if "label" in table.features else next(iter(labels), None)
    files = table.cast_column(image, datasets.Image(decode=False))[image]
    if label is None:
        return files, np.zeros(len(table), np.int64), ()
    given = table.with_format("arrow")[label].to_pylist()
    if label in labels:
        classes = tuple(table.features[label].names)
    elif not isinstance(table.features[label], datasets.Value):
        raise DataError(
            f"the column {label} of {source} holds {type(table.features[label]).__name__}, expected numbers "
            "or strings, which are classes; rename it or take it out"
        )
    else:  # numbers or strings, without names
        classes = tuple(in_order({str(value) for value in given if value is not None}))
        number_of = {name: number for number, name in enumerate(classes)}
        given = [None if value is None else number_of[str(value)] for value in given]
    numbers = np.array([-1 if number is None else number for number in given], np.int64)
    if ((numbers < 0) | (numbers >= len(classes))).any() or "" in classes:
        raise DataError(
            f"some images of {source} have no label, or one beyond the {len(classes)} classes; "
            "remove them or label them"
        )
    if len(classes) < 2:  # there is nothing to tell apart
        return files, np.zeros(len(table), np.int64), ()
    return files, numbers, classes
