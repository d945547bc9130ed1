"""Images to learn from: found by Hugging Face datasets, decoded once into a memory-mapped cache."""

import hashlib
import io
import json
import lzma
import os
import zipfile
import zlib
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

from training.bars import BAR
from training.data_errors import DataError, NoSplit
from training.files import replacing_folder
from training.pixels import UnsupportedImage, is_grey, to_square
from training.tables import find_table, image_column, read_columns

UNREADABLE_SHARE = 0.01
SLICE = 1_000
# of the cache: another one where the same files are decoded, numbered or described in another way
CACHE_VERSION = 2
# in each of its folders
DESCRIPTION = "data.json"


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
    source: str,
    *,
    resolution: int,
    channels: int | None = None,
    split: str = "train",
    column: str | None = None,
    cache: Path,
) -> ImageData:
    """The images of a folder, a zip of one, a parquet file or folder, or a data set of the Hugging Face hub.

    resolution: side in pixels; channels: 1 or 3, or None to have 1 exactly when every image is grey; column:
    of the images, needed where a table has several such.
    A second call for the same data finds it in `cache`. Raises DataError, and NoSplit where there is no such
    split.
    """
    datasets.disable_progress_bars()
    try:
        table, key = find_table(source, split, cache)
        column = image_column(table, source, column)
        key = hashlib.sha256(f"{CACHE_VERSION}\0{key}\0{column}".encode()).hexdigest()
        folder = _decoded(cache / f"{key}-{resolution}", channels)
        if not (folder / DESCRIPTION).exists():
            _decode(*read_columns(table, source, column), resolution, channels, folder)
    except (DatasetNotFoundError, ConnectionError) as error:
        raise DataError(f"{source} is neither here nor on the Hugging Face hub: {error}") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DataError(f"{source} is not a readable zip file: {error}") from None
    except DataError:
        raise
    except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        if "Unknown split" in str(error):
            raise NoSplit(source, split) from None
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from None
    path = Path(source).expanduser()
    name = path.resolve().name if path.is_dir() else path.stem
    return _open(name or source, folder)


def _decoded(folder: Path, channels: int | None) -> Path:
    """Where images with so many channels are, or are to be: those decoded as they were may do."""
    as_they_are = folder.with_name(f"{folder.name}-auto")
    if channels is None:
        return as_they_are
    if (as_they_are / DESCRIPTION).exists():
        with _damage_told(as_they_are):
            if _describe(as_they_are)["shape"][-1] == channels:
                return as_they_are
    return folder.with_name(f"{folder.name}-{channels}")


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
        replacing_folder(folder) as aside,
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
        np.save(aside / "labels.npy", labels)
        summary = {
            "shape": [len(kept), resolution, resolution, channels],
            "classes": classes,
            "unreadable": unreadable,
            "fingerprint": digest.hexdigest(),
        }
        (aside / DESCRIPTION).write_text(json.dumps(summary), encoding="utf-8")


def _check(unreadable: list[str], labels: NDArray[np.int64], classes: tuple[str, ...], total: int) -> None:
    if len(unreadable) > UNREADABLE_SHARE * total:
        listed = "\n  ".join(unreadable[:20])
        more = f"\n  and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        raise DataError(
            f"{len(unreadable)} of {total} images cannot be read, at most 1 % may be so; "
            f"mend or remove them:\n  {listed}{more}"
        )
    counts = Counter(labels.tolist())
    if lonely := [name for number, name in enumerate(classes) if counts[number] < 2]:
        raise DataError(f"every class needs at least two images; add some to, or remove: {', '.join(lonely)}")
    if len(labels) < 2:
        raise DataError(f"at least two images are needed, found {len(labels)}")


def _open(name: str, folder: Path) -> ImageData:
    with _damage_told(folder):
        summary = _describe(folder)
        shape = tuple(summary["shape"])
        return ImageData(
            name=name,
            fingerprint=summary["fingerprint"],
            images=np.memmap(folder / "images.bin", dtype=np.uint8, mode="r", shape=shape),
            labels=np.load(folder / "labels.npy"),
            classes=tuple(summary["classes"]),
            unreadable=tuple(summary["unreadable"]),
        )


def _describe(folder: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    return description


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, EOFError, FileNotFoundError) as error:
        raise DataError(
            f"decoded images in {folder} are damaged ({error}); remove that folder to have them decoded again"
        ) from None


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
