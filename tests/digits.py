"""Real images that ship with scikit-learn: 1,797 handwritten digits of 8x8 pixels, in ten classes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [1797, 8, 8] on 0 to 255 and labels [1797]."""
    bunch = load_digits()
    return (bunch.images * 255 / 16).round().astype(np.uint8), bunch.target.astype(np.int64)


def write_digits(folder: Path, *, per_class: int | None = None) -> Path:
    """A folder of PNGs: train/<class>/ and test/<class>/, every fifth image for the test."""
    images, labels = digits()
    for number in range(10):
        chosen = images[labels == number][:per_class]
        for row, image in enumerate(chosen):
            place = folder / ("test" if row % 5 == 0 else "train") / str(number)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{row:03d}.png")
    return folder
