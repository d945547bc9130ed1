"""Images into bytes: one small function a format. The same images always give the same bytes."""

import base64
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.rows import Images


@dataclass(frozen=True)
class Generated:
    """The images of one request and what they are of.

    `images` uint8 [n, height, width, channels]; `indices` int64 [n]: of the seed, or of the row where latents
    were given and there is no seed; `labels` int64 [n]: class numbers, or none when unconditional.
    """

    images: Images
    seed: int | None
    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]
    model: str
    digest: str

    def describe(self) -> Iterator[dict[str, int | str | None]]:
        """Seed, index and label of each image, the label by its name."""
        for i, index in enumerate(self.indices.tolist()):
            label = None if self.labels is None else self.classes[self.labels[i]]
            yield {"seed": self.seed, "index": index, "label": label}


def contact_sheet_shape(n: int, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of n images in a near-square grid."""
    columns = isqrt(n - 1) + 1
    return ceil(n / columns) * height, columns * width


def contact_sheet(images: Images) -> Images:
    """The images at their own size in a near-square grid, the rest white: uint8 [height, width, channels]."""
    n, height, width, channels = images.shape
    if n == 1:
        return images.reshape(height, width, channels)
    sheet_height, sheet_width = contact_sheet_shape(n, height, width)
    rows, columns = sheet_height // height, sheet_width // width
    cells = np.full((rows * columns, height, width, channels), 255, np.uint8)
    cells[:n] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(sheet_height, sheet_width, channels)


def _png(image: Images) -> bytes:
    # Most of the deflating is in the first level; the higher ones take many times as long.
    return _save(image, format="PNG", compress_level=1)


def _webp(image: Images) -> bytes:
    return _save(image, format="WEBP", quality=90)


def _jpeg(image: Images) -> bytes:
    # Generated images are small, so that coarser colours would be seen.
    return _save(image, format="JPEG", quality=95, subsampling="4:4:4")


def _save(image: Images, **options: str | int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _zip(generated: Generated) -> bytes:
    file = io.BytesIO()
    manifest = []
    with zipfile.ZipFile(file, "w") as archive:
        for image, description in zip(generated.images, generated.describe(), strict=True):
            name = f"{description['index']:06d}.png"
            _store(archive, name, _png(image))
            line = {"file": name, **description, "model": generated.model, "digest": generated.digest}
            manifest.append(json.dumps(line) + "\n")
        _store(archive, "manifest.jsonl", "".join(manifest).encode())
    return file.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name)  # dated 1980, so that the same images give the same bytes
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _json(generated: Generated) -> bytes:
    document = {
        "model": generated.model,
        "digest": generated.digest,
        "images": [
            {**description, "image": base64.b64encode(_png(image)).decode()}
            for image, description in zip(generated.images, generated.describe(), strict=True)
        ],
    }
    return json.dumps(document).encode()


def _npz(generated: Generated) -> bytes:
    file = io.BytesIO()
    labels = np.full(len(generated.images), -1) if generated.labels is None else generated.labels
    np.savez(file, images=generated.images, labels=labels, indices=generated.indices)
    return file.getvalue()


@dataclass(frozen=True)
class Format:
    """A format of the answer.

    `name` is the file's extension too; `largest_side` is in pixels; images of at most `quick_bytes` are
    encoded in less time than a hand-over to a thread takes.
    """

    name: str
    media_type: str
    encode: Callable[[Generated], bytes]
    largest_side: int | None = None
    quick_bytes: int = 0


def _picture(name: str, encode: Callable[[Images], bytes], largest_side: int, quick_bytes: int = 0) -> Format:
    return Format(
        name, f"image/{name}", lambda made: encode(contact_sheet(made.images)), largest_side, quick_bytes
    )


# In the order of preference when a client likes several as much.
FORMATS = (
    _picture("png", _png, 2**31 - 1, quick_bytes=2**14),
    _picture("webp", _webp, 16383),
    _picture("jpeg", _jpeg, 65500),
    Format("zip", "application/zip", _zip),
    Format("json", "application/json", _json),
    Format("npz", "application/x-npz", _npz, quick_bytes=2**18),
)
