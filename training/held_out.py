"""The real images that the networks never see, so that what they draw can be measured against them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data import ImageData
from training.pictures import Rows

SHARE = 0.1
# more would take long to measure: a thousand cost 2.5 % of the time that ten thousand images train for
MOST = 1_000
# fewer would say too little to be worth taking them away
FEWEST = 20


@dataclass(frozen=True)
class Part:
    """A part of a data set: its images and their labels [n]."""

    images: Rows
    labels: NDArray[np.int64]


def number_held_out(images: int) -> int:
    """How many of a run's images are held out: a tenth, at most 1,000; none of less than 200."""
    number = min(MOST, int(SHARE * images))
    return number if number >= FEWEST else 0


class Split(NamedTuple):
    """The images that the networks learn from, and those to measure by, `seen` and `unseen` equally many.

    When none are held out, the unseen ones are seen ones.
    """

    learned: Part
    seen: Part
    unseen: Part


def split(data: ImageData, held_out: int, seed: int) -> Split:
    """Hold `held_out` images out, each class with its share; which ones follows from the seed."""
    rows = np.arange(len(data.labels))
    unseen = _sample(data.labels, rows, held_out or min(MOST, len(rows)), seed)
    learned = np.delete(rows, unseen) if held_out else rows
    seen = _sample(data.labels, learned, min(len(unseen), len(learned)), seed)
    return Split(*(Part(Rows(data.images, part), data.labels[part]) for part in (learned, seen, unseen)))


def _sample(labels: NDArray[np.int64], rows: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """So many of the rows, each class with its share to within one, in no order."""
    draws = np.random.default_rng(seed)
    order = draws.permutation(rows)
    order = order[np.argsort(labels[order], kind="stable")]
    # at equal distances along the classes
    return draws.permutation(order[(np.arange(number) * 2 + 1) * len(order) // (2 * number)])
