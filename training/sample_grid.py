"""Many images as one picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.files import replacing


def sample_grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images [n, H, W, C], row after row, as one picture [rows * H, columns * W, C]."""
    rows = len(images) // columns
    _, height, width, channels = images.shape
    cells = images[: rows * columns].reshape(rows, columns, height, width, channels)
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A PNG of pixels [height, width, 1 or 3], aside first, then renamed."""
    with replacing(path) as aside:
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(aside, format="PNG")
