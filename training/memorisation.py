"""Whether a generator copies its training images: how near each of its images is to the nearest of them.

Real test images, which are no copies, say how near is near.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from tqdm import tqdm

from training.bars import BAR
from training.subject import Subject

IMAGES = 10_000  # of each set, at most
PAIRS = 12
SIDE = 32  # larger images are compared as the means of squares of pixels: a shift of a hair is still a copy
QUANTILE = 0.01
BLOCK = 4096

Vectors = NDArray[np.uint8] | NDArray[np.float32]  # [n, d]


class Pair(BaseModel):
    """A generated image, its nearest training image (their numbers), and the distance of the two."""

    generated: int
    train: int
    distance: float


class Closeness(BaseModel):
    """Distances to the nearest training image; below 1, `ratio` says that generated images are nearer.

    ratio: median of the generated over median of the test images. test_near: what 1 % of these are nearer
    than; nearer_share: share of the generated that are, so 0.01 when they are as near.
    closest: the nearest pairs, each of other training images.
    """

    generated_median: float
    test_median: float
    ratio: float
    test_near: float
    nearer_share: float
    closest: list[Pair]


class Memorisation(BaseModel):
    """In pixels (root mean square difference, in grey levels of 255) and in the classifier's features."""

    generated: int
    test: int
    pixels: Closeness
    features: Closeness


def measure(subject: Subject) -> Memorisation:
    train, every = subject.real.train.images, subject.test_images
    # they may be sorted by class
    test = every[np.sort(np.random.default_rng(subject.seed).permutation(len(every))[:IMAGES])]
    generated = subject.generated[:IMAGES]  # in no order already
    sets = train, test, generated
    small = [_small(images) for images in sets]
    scale = np.sqrt(small[0].shape[1])
    return Memorisation(
        generated=len(generated),
        test=len(test),
        pixels=_closeness(small, scale, "nearest in pixels"),
        features=_closeness(
            [subject.classifier.features(images) for images in sets], 1, "nearest in features"
        ),
    )


def nearest(among: Vectors, to: Vectors, title: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each row of `to` [n, d], the distance to the nearest row of `among` [m, d], and its number: [n]."""
    best = np.full(len(to), np.inf, np.float32)
    number = np.zeros(len(to), np.int64)
    rows = to.astype(np.float32)
    for start in tqdm(range(0, len(among), BLOCK), desc=title, unit="block", delay=1, **BAR):
        block = among[start : start + BLOCK].astype(np.float32)
        # squared distance, without what is the same for all of a row
        part = (block**2).sum(axis=1) - 2 * (rows @ block.T)
        here = part.argmin(axis=1)
        value = np.take_along_axis(part, here[:, np.newaxis], axis=1)[:, 0]
        nearer = value < best
        best[nearer], number[nearer] = value[nearer], here[nearer] + start
    # again for the one that was found, for a difference of large squares does not tell a copy from a likeness
    exact = [
        np.sqrt(((to[place].astype(np.float64) - among[found]) ** 2).sum())
        for place, found in enumerate(number)
    ]
    return np.array(exact), number


def _closeness(sets: Sequence[Vectors], scale: float, title: str) -> Closeness:
    train, test, generated = sets
    both = np.concatenate([generated, test])
    distances, numbers = nearest(train, both, title)
    distances /= scale
    ours, theirs = distances[: len(generated)], distances[len(generated) :]
    near = float(np.quantile(theirs, QUANTILE))
    closest: dict[int, Pair] = {}
    for place in np.argsort(ours, kind="stable"):
        train_number = int(numbers[place])
        pair = Pair(generated=int(place), train=train_number, distance=float(ours[place]))
        closest.setdefault(train_number, pair)
        if len(closest) == PAIRS:
            break
    return Closeness(
        generated_median=float(np.median(ours)),
        test_median=float(np.median(theirs)),
        ratio=float(np.median(ours) / np.median(theirs)),
        test_near=near,
        nearer_share=float((ours < near).mean()),
        closest=list(closest.values()),
    )


def _small(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [n, H, W, C] as rows [n, d], brought down to at most 32 pixels a side."""
    n, side, _, channels = images.shape
    if side <= SIDE:
        return images.reshape(n, -1)
    step = side // SIDE
    small = np.empty((n, SIDE, SIDE, channels), np.uint8)
    for start in range(0, n, BLOCK):
        squares = images[start : start + BLOCK].reshape(-1, SIDE, step, SIDE, step, channels)
        small[start : start + BLOCK] = squares.mean(axis=(2, 4)).round()
    return small.reshape(n, -1)
