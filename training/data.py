"""Images to learn from: found by Hugging Face datasets, decoded once into a memory-mapped cache."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.exceptions import DatasetNotFoundError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from training.pixels import UnsupportedImage, is_grey, to_square
from training.progress import BAR

UNREADABLE_SHARE = 0.01
SPLIT_NAMES = {"train", "test", "validation", "valid", "val"}


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
    table = _find(source, split, cache)
    image_column, label_column = _columns(table, source)
    classes = tuple(table.features[label_column].names) if label_column else ()
    table = table.cast_column(image_column, datasets.Image(decode=False))
    # the fingerprint is how datasets names the state of the files; it has no public accessor
    key = f"{table._fingerprint}-{resolution}-{channels or 'auto'}"  # noqa: SLF001
    folder = cache / key
    if not (folder / "data.json").exists():
        files = table[image_column]
        labels = np.asarray(table[label_column] if label_column else [0] * len(table), dtype=np.int64)
        _decode(files, labels, classes, resolution, channels, folder)
    return _open(Path(source).stem or source, folder)


def _find(source: str, split: str, cache: Path) -> datasets.Dataset:
    """The table of the source, its errors told as DataError."""
    datasets.disable_progress_bars()
    try:
        return _table(source, split, cache)
    except (DatasetNotFoundError, ConnectionError) as error:
        raise DataError(f"{source} is neither here nor on the Hugging Face hub: {error}") from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{source} is not a readable zip file: {error}") from None
    except DataError:
        raise
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        if "Unknown split" in str(error):
            raise DataError(f"{source} has no {split} split; name other images for it") from None
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from None


def _table(source: str, split: str, cache: Path) -> datasets.Dataset:
    path = Path(source).expanduser()
    options: dict[str, Any] = {"split": split, "cache_dir": str(cache / "tables")}
    if path.suffix == ".zip" and path.is_file():
        path = _unpack(path, cache)
    if path.is_dir() and not any(path.rglob("*.parquet")):
        folders = {child.name for child in path.iterdir() if child.is_dir()}
        if not (folders and folders <= SPLIT_NAMES):
            # named explicitly, for datasets would take a class called "test" for a split
            options["data_files"] = {"train": "**"}
        return datasets.load_dataset("imagefolder", data_dir=str(path), **options)
    if path.suffix == ".parquet" and path.is_file():
        return datasets.load_dataset("parquet", data_files={"train": str(path)}, **options)
    if path.exists():
        return datasets.load_dataset(str(path), **options)
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise DataError(
            f"{source} does not exist; expected a folder of images, a zip of one, a parquet file or folder, "
            "or the id of a data set on the Hugging Face hub, such as ylecun/mnist"
        )
    return datasets.load_dataset(source, **options)


def _unpack(archive: Path, cache: Path) -> Path:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache / "archives" / digest
    if not folder.exists():
        aside = folder.with_name(f"{digest}.{os.getpid()}.part")
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(aside)
        aside.rename(folder)
    # a zip of a folder holds that folder, not the class folders, at its top
    inside = [child for child in folder.iterdir() if child.name != "__MACOSX"]
    while len(inside) == 1 and inside[0].is_dir() and any(child.is_dir() for child in inside[0].iterdir()):
        folder, inside = inside[0], list(inside[0].iterdir())
    return folder


def _columns(table: datasets.Dataset, source: str) -> tuple[str, str | None]:
    """The names of the image column and, where the images have classes, the label column."""
    images = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    if not images:
        raise DataError(
            f"{source} has no image column; expected the schema of the Hugging Face hub: `image`, and "
            f"`label` for classes; found {', '.join(table.features)}"
        )
    return images[0], "label" if "label" in labels else next(iter(labels), None)


def _decode(
    files: Any,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    resolution: int,
    channels: int | None,
    folder: Path,
) -> None:
    """Write the cache folder, aside first, then renamed."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    unreadable: list[str] = []
    kept: list[int] = []
    digest = hashlib.sha256(json.dumps(classes).encode())
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool, (aside / "images.bin").open("wb") as images:
            if channels is None:
                channels = 1 if all(pool.map(_is_grey_file, files)) else 3
            squares = pool.map(lambda file: _square_file(file, resolution, channels), files)
            bar = tqdm(squares, total=len(files), desc="decoding", unit="img", **BAR)
            for row, square in enumerate(bar):
                if isinstance(square, str):
                    unreadable.append(f"{files[row]['path'] or f'row {row}'} ({square})")
                else:
                    images.write(square.tobytes())
                    digest.update(square.tobytes())
                    kept.append(row)
        labels = labels[kept]
        digest.update(labels.tobytes())
        _check(unreadable, labels, classes, len(files))
        np.save(aside / "labels.npy", labels)
        summary = {
            "shape": [len(kept), resolution, resolution, channels],
            "classes": classes,
            "unreadable": unreadable,
            "fingerprint": digest.hexdigest(),
        }
        (aside / "data.json").write_text(json.dumps(summary), encoding="utf-8")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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


def _open_file(file: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(file["bytes"]) if file["bytes"] is not None else file["path"])


def _is_grey_file(file: dict[str, Any]) -> bool:
    try:
        with _open_file(file) as image:
            return is_grey(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):
        return True  # one that cannot be read decides nothing; decoding will name it


def _square_file(file: dict[str, Any], resolution: int, channels: int) -> NDArray[np.uint8] | str:
    """The square, or why there is none."""
    try:
        with _open_file(file) as image:
            return to_square(image, resolution, channels)
    except UnidentifiedImageError:
        return "not an image that Pillow knows"
    # Pillow's decoders raise SyntaxError, ValueError and others for damaged files
    except (OSError, SyntaxError, ValueError, UnsupportedImage, Image.DecompressionBombError) as error:
        return str(error)
