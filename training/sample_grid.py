"""Many images as one picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.files import replacing

COLUMNS = 10


def sample_labels(classes: int) -> NDArray[np.int64]:
    """The labels of the images of a grid: a row a class, ten rows when unconditional."""
    return np.repeat(np.arange(classes or COLUMNS), COLUMNS)


def sample_grid(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [rows * 10, H, W, C], row after row, as one picture [rows * H, 10 * W, C]."""
    _, height, width, channels = images.shape
    cells = images.reshape(-1, COLUMNS, height, width, channels)
    return cells.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * width, channels)


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A PNG of pixels [height, width, 1 or 3], aside first, then renamed."""
    with replacing(path) as aside:
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(aside, format="PNG")
