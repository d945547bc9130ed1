from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data import ImageData
from training.held_out import number_held_out, split


def data(labels: list[int]) -> ImageData:
    """Images of one pixel each, which is their row."""
    return ImageData(
        name="made up",
        fingerprint="",
        images=np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1),
        labels=np.array(labels, np.int64),
        classes=tuple(map(str, range(max(labels) + 1))),
        unreadable=(),
    )


@pytest.mark.parametrize(("images", "expected"), [(2, 0), (199, 0), (200, 20), (1_437, 143), (60_000, 1_000)])
def test_a_tenth_is_held_out_but_not_of_few_nor_of_many(images: int, expected: int) -> None:
    assert number_held_out(images) == expected


labels = st.lists(st.integers(0, 4), min_size=40, max_size=250)


@given(labels, st.integers(0, 2**63 - 1))
def test_what_is_learned_and_what_is_measured_by_are_apart_and_whole(given: list[int], seed: int) -> None:
    parts = split(data(given), len(given) // 10, seed)
    learned, seen, unseen = (part.images[:].ravel().tolist() for part in parts)
    assert sorted(learned + unseen) == list(range(len(given)))
    assert len(seen) == len(unseen) == len(set(unseen)) == len(given) // 10
    assert set(seen) < set(learned)
    for part in parts:
        assert part.labels.tolist() == [given[row] for row in part.images[:].ravel()]


@given(labels, st.integers(0, 2**63 - 1))
def test_each_class_gives_its_share(given: list[int], seed: int) -> None:
    parts = split(data(given), len(given) // 10, seed)
    taken = Counter(parts.unseen.labels.tolist())
    share = (len(given) // 10) / len(given)
    assert all(abs(taken[label] - count * share) <= 1 for label, count in Counter(given).items())


def test_the_seed_decides() -> None:
    rows = [split(data([0] * 100), 10, seed).unseen.images[:].ravel().tolist() for seed in (3, 3, 4)]
    assert rows[0] == rows[1] != rows[2]


def test_few_images_are_measured_by_those_that_are_learned() -> None:
    parts = split(data([0, 0, 1, 1, 1]), 0, seed=0)
    assert len(parts.learned.images) == 5
    assert sorted(parts.unseen.images[:].ravel()) == sorted(parts.seen.images[:].ravel()) == [0, 1, 2, 3, 4]


def test_rows_are_read_when_they_are_asked_for() -> None:
    original = data([0] * 50)
    learned = split(original, 5, seed=1).learned
    assert learned.images.shape == (45, 1, 1, 1)
    places = np.array([7, 0, 7])
    before = learned.images[places].ravel().tolist()
    original.images[:] += 100
    assert learned.images[places].ravel().tolist() == [pixel + 100 for pixel in before]
