"""Images to learn from: found by Hugging Face datasets, decoded once into a memory-mapped cache."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.exceptions import DatasetNotFoundError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from training.folder import FolderError, read_folder
from training.pixels import UnsupportedImage, is_grey, to_square
from training.progress import BAR

UNREADABLE_SHARE = 0.01
SLICE = 1_000


class DataError(ValueError):
    """Images that cannot be learned from; the message says which, and what to do."""


@dataclass(frozen=True)
class ImageData:
    """Square images of one size.

    images: uint8 [n, resolution, resolution, channels], memory-mapped; labels: int64 [n], all 0 when
    there are no classes; fingerprint: SHA-256 over pixels, labels and class names;
    unreadable: what was left out.
    """

    name: str
    fingerprint: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    unreadable: tuple[str, ...]


def load(
    source: str, *, resolution: int, channels: int | None = None, split: str = "train", cache: Path
) -> ImageData:
    """The images of a folder, a zip of one, a parquet file or folder, or a data set of the Hugging Face hub.

    resolution: side in pixels; channels: 1 or 3, or None to have 1 exactly when every image is grey.
    A second call for the same data finds it in `cache`. Raises DataError.
    """
    datasets.disable_progress_bars()
    try:
        table, key = _table(source, split, cache)
        folder = cache / f"{key}-{resolution}-{channels or 'auto'}"
        if not (folder / "data.json").exists():
            _decode(*_columns(table, source), resolution, channels, folder)
    except (DatasetNotFoundError, ConnectionError) as error:
        raise DataError(f"{source} is neither here nor on the Hugging Face hub: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{source} is not a readable zip file: {error}") from None
    except DataError:
        raise
    except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        if "Unknown split" in str(error):
            raise DataError(f"{source} has no {split} split; name other images for it") from None
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from None
    path = Path(source).expanduser()
    name = path.resolve().name if path.is_dir() else path.stem
    return _open(name or source, folder)


def _table(source: str, split: str, cache: Path) -> tuple[datasets.Dataset, str]:
    """The rows of the source, and a key that changes with its files."""
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
    try:
        found = read_folder(path, split)
    except FolderError as error:
        raise DataError(str(error)) from None
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
        with _aside(folder) as aside, zipfile.ZipFile(archive) as opened:
            opened.extractall(aside)
    # a zip of a folder holds that folder, not the class folders, at its top
    inside = [child for child in folder.iterdir() if child.name != "__MACOSX"]
    while len(inside) == 1 and inside[0].is_dir() and any(child.is_dir() for child in inside[0].iterdir()):
        folder, inside = inside[0], list(inside[0].iterdir())
    return folder


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when all is written, unless another process was first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield aside
        try:
            aside.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _columns(
    table: datasets.Dataset, source: str
) -> tuple[datasets.Column, NDArray[np.int64], tuple[str, ...]]:
    """The image files, their labels (all 0 without classes), and the names of the classes."""
    images = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    if not images:
        raise DataError(
            f"{source} has no image column; expected the schema of the Hugging Face hub: `image`, and "
            f"`label` for classes; found {', '.join(table.features)}"
        )
    labels = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    label = "label" if "label" in table.features else next(iter(labels), None)
    files = table.cast_column(images[0], datasets.Image(decode=False))[images[0]]
    if label is None:
        return files, np.zeros(len(table), np.int64), ()
    if label not in labels:  # numbers or strings, without names
        table = table.class_encode_column(label)
    classes = tuple(table.features[label].names)
    given = table.with_format("arrow")[label]
    numbers = np.array([-1 if number is None else number for number in given.to_pylist()], np.int64)
    if ((numbers < 0) | (numbers >= len(classes))).any():
        raise DataError(
            f"some images of {source} have no label, or one beyond the {len(classes)} classes; "
            "remove them or label them"
        )
    return files, numbers, classes


def _decode(
    files: datasets.Column,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    resolution: int,
    channels: int | None,
    folder: Path,
) -> None:
    """Write the cache folder, aside first, then renamed."""
    unreadable: list[str] = []
    kept: list[int] = []
    digest = hashlib.sha256(json.dumps(classes).encode())
    with (
        _aside(folder) as aside,
        (aside / "images.bin").open("wb") as images,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(files), desc="decoding", unit="img", **BAR) as bar,
    ):
        starts = range(0, len(files), SLICE)  # not all at once, for the files may not fit into memory
        if channels is None:
            grey = all(all(pool.map(_is_grey_file, files[start : start + SLICE])) for start in starts)
            channels = 1 if grey else 3
        square = partial(_square_file, resolution=resolution, channels=channels)
        for start in starts:
            part = files[start : start + SLICE]
            for row, pixels in enumerate(pool.map(square, part), start):
                if isinstance(pixels, str):
                    path = part[row - start] and part[row - start]["path"]
                    unreadable.append(f"{path or f'row {row}'} ({pixels})")
                else:
                    images.write(pixels.tobytes())
                    digest.update(pixels.tobytes())
                    kept.append(row)
            bar.update(len(part))
        labels = labels[kept]
        digest.update(labels.tobytes())
        _check(unreadable, labels, classes, len(files))
        images.flush()
        os.fsync(images.fileno())
        np.save(aside / "labels.npy", labels)
        summary = {
            "shape": [len(kept), resolution, resolution, channels],
            "classes": classes,
            "unreadable": unreadable,
            "fingerprint": digest.hexdigest(),
        }
        (aside / "data.json").write_text(json.dumps(summary), encoding="utf-8")


def _check(unreadable: list[str], labels: NDArray[np.int64], classes: tuple[str, ...], total: int) -> None:
    if len(unreadable) > UNREADABLE_SHARE * total:
        listed = "\n  ".join(unreadable[:20])
        more = f"\n  and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        raise DataError(
            f"{len(unreadable)} of {total} images cannot be read, at most 1 % may be so; "
            f"mend or remove them:\n  {listed}{more}"
        )
    if labels.size and labels.min() < 0:
        raise DataError(
            "some images have no label (-1 stands in the label column); remove them or label them"
        )
    counts = Counter(labels.tolist())
    if lonely := [name for number, name in enumerate(classes) if counts[number] < 2]:
        raise DataError(f"every class needs at least two images; add some to, or remove: {', '.join(lonely)}")
    if len(labels) < 2:
        raise DataError(f"at least two images are needed, found {len(labels)}")


def _open(name: str, folder: Path) -> ImageData:
    summary = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    return ImageData(
        name=name,
        fingerprint=summary["fingerprint"],
        images=np.memmap(folder / "images.bin", dtype=np.uint8, mode="r", shape=tuple(summary["shape"])),
        labels=np.load(folder / "labels.npy"),
        classes=tuple(summary["classes"]),
        unreadable=tuple(summary["unreadable"]),
    )


def _open_file(file: dict[str, Any] | None) -> Image.Image:
    if file is None:
        raise UnsupportedImage("no image")
    return Image.open(io.BytesIO(file["bytes"]) if file["bytes"] is not None else file["path"])


def _is_grey_file(file: dict[str, Any] | None) -> bool:
    try:
        with _open_file(file) as image:
            return is_grey(image)
    except Exception:  # noqa: BLE001 - Pillow's decoders raise many kinds for damaged files
        return True  # one that cannot be read decides nothing; decoding will name it


def _square_file(file: dict[str, Any] | None, resolution: int, channels: int) -> NDArray[np.uint8] | str:
    """The square, or why there is none."""
    try:
        with _open_file(file) as image:
            return to_square(image, resolution, channels)
    except UnidentifiedImageError:
        return "not an image that Pillow knows"
    except Exception as error:  # noqa: BLE001 - as above
        return str(error) or type(error).__name__
