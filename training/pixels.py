"""Any image to a square of 8-bit grey or RGB pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I"}
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I"}


class UnsupportedImage(ValueError):
    """Pixels that have no one meaning as 8-bit grey or RGB."""


def is_grey(image: Image.Image) -> bool:
    """Whether the file holds grey pixels; looks at its header alone."""
    return image.mode in GREY_MODES


def to_square(image: Image.Image, resolution: int, channels: int) -> NDArray[np.uint8]:
    """The image upright, flattened onto white, cropped to its central square and resized (Lanczos).

    Gives uint8 [resolution, resolution, channels]. Raises UnsupportedImage.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT:
        image = _eight_bit(image)
    elif image.mode == "F":
        raise UnsupportedImage("floating-point pixels, expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8).reshape(resolution, resolution, channels)


def _eight_bit(image: Image.Image) -> Image.Image:
    wide = np.asarray(image)
    if wide.min() < 0 or wide.max() > 65535:
        raise UnsupportedImage("32-bit pixels, expected 8 or 16 bits a channel")
    # the exact ratio of the two ranges: 65535 / 255
    return Image.fromarray(((wide.astype(np.uint32) + 128) // 257).astype(np.uint8))
