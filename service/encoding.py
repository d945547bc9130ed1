"""Images into bytes: one small function a format. The same images give the same bytes, but see `png`."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isqrt

import numpy as np
import numpy.typing as npt
from PIL import Image

from service import png
from service.archive import Buffer, stored
from service.rows import Images

# Copying less than this costs less than sending it by itself.
SMALL = 2**17


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
    return png.encode(image[np.newaxis])[0]


def _webp(image: Images) -> bytes:
    # Half the time of the default method, 4, for files that are larger by 1 to 3 % and as good.
    return _save(image, format="WEBP", quality=90, method=2)


def _webp_lossless(image: Images) -> bytes:
    # Method 0 makes grey images larger than PNG, 2 takes half as long again for 2 %; quality here is effort.
    return _save(image, format="WEBP", lossless=True, method=1, quality=0)


def _jpeg(image: Images) -> bytes:
    # Coarser colours, 4:2:0, would cost small images 5 dB at any quality; above 95 files grow for nothing.
    return _save(image, format="JPEG", quality=95, subsampling="4:4:4")


def _save(image: Images, **options: str | int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _zip(generated: Generated) -> list[Buffer]:
    files = png.encode(generated.images)
    members, manifest = [], []
    for file, description in zip(files, generated.describe(), strict=True):
        name = f"{description['index']:06d}.png"
        members.append((name, [file]))
        line = {"file": name, **description, "model": generated.model, "digest": generated.digest}
        manifest.append(json.dumps(line) + "\n")
    return _gathered(stored([*members, ("manifest.jsonl", ["".join(manifest).encode()])]))


def _json(generated: Generated) -> list[Buffer]:
    files = png.encode(generated.images)
    document = {
        "model": generated.model,
        "digest": generated.digest,
        "images": [
            {**description, "image": base64.b64encode(file).decode()}
            for file, description in zip(files, generated.describe(), strict=True)
        ],
    }
    return [json.dumps(document).encode()]


def _npz(generated: Generated) -> list[Buffer]:
    labels = np.full(len(generated.images), -1) if generated.labels is None else generated.labels
    arrays = {"images": generated.images, "labels": labels, "indices": generated.indices}
    return _gathered(stored((f"{name}.npy", _npy(array)) for name, array in arrays.items()))


def _npy(array: npt.NDArray[np.generic]) -> tuple[Buffer, Buffer]:
    if isinstance(array.base, np.ndarray) and array.base.nbytes > 2 * array.nbytes:
        array = array.copy()  # else a slow client would keep the whole batch in memory
    return _npy_header(array.dtype, array.shape), np.ascontiguousarray(array).data.cast("B")


@lru_cache
def _npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _gathered(buffers: Iterable[Buffer]) -> list[Buffer]:
    """The same bytes in fewer buffers: those that are small are joined with their neighbours."""
    gathered: list[Buffer] = []
    small: list[Buffer] = []
    for buffer in buffers:
        if len(buffer) < SMALL:
            small.append(buffer)
        else:
            gathered += (b"".join(small), buffer)
            small.clear()
    return [buffer for buffer in (*gathered, b"".join(small)) if buffer]


@dataclass(frozen=True)
class Format:
    """A format of the answer.

    `encode` gives buffers whose bytes, one after the other, are the answer; they may share memory with the
    images. `extension` is the file's; `largest_side` is in pixels; images of at most `quick_bytes` are
    encoded in less time than a hand-over to a thread takes.
    """

    name: str
    media_type: str
    extension: str
    encode: Callable[[Generated], list[Buffer]]
    largest_side: int | None = None
    quick_bytes: int = 0


def _picture(
    name: str,
    encode: Callable[[Images], bytes],
    largest_side: int,
    quick_bytes: int = 0,
    extension: str | None = None,
) -> Format:
    extension = extension or name
    return Format(
        name,
        f"image/{extension}",
        extension,
        lambda made: [encode(contact_sheet(made.images))],
        largest_side,
        quick_bytes,
    )


# In the order of preference when a client likes several as much; a media type means the first that has it.
FORMATS = (
    _picture("png", _png, 2**31 - 1, quick_bytes=2**14),
    _picture("webp", _webp, 16383),
    _picture("webp-lossless", _webp_lossless, 16383, extension="webp"),
    _picture("jpeg", _jpeg, 65500),
    Format("zip", "application/zip", "zip", _zip),
    Format("json", "application/json", "json", _json),
    Format("npz", "application/x-npz", "npz", _npz, quick_bytes=2**19),
)
