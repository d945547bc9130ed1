from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.shelf import Shelf
from tests.training.galleries import chosen, gallery, image_data, real_digits
from training import memorisation
from training.memorisation import measure, nearest
from training.subject import RealImages, Subject


@settings(max_examples=30, deadline=None)
@given(m=st.integers(1, 30), n=st.integers(1, 10), d=st.integers(1, 20), seed=st.integers(0, 99))
def test_nearest_agrees_with_plain_loops(m: int, n: int, d: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    among, to = (draws.standard_normal((rows, d), np.float32) for rows in (m, n))
    distances, numbers = nearest(among, to, "")
    for row, distance, number in zip(to, distances, numbers, strict=True):
        gaps = [np.linalg.norm(row - other) for other in among]
        assert distance == pytest.approx(min(gaps), rel=1e-5)
        assert number == np.argmin(gaps)


def test_nearest_finds_a_copy_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "BLOCK", 7)
    among = np.random.default_rng(1).integers(0, 256, (50, 300), dtype=np.uint8)
    distances, numbers = nearest(among, among[[3, 49, 7]], "")
    assert numbers.tolist() == [3, 49, 7]
    assert distances.tolist() == [0, 0, 0]


def subject(pictures: NDArray[np.uint8], real: RealImages, folder: Path, presentations: int) -> Subject:
    """A generator without classes that shows the pictures."""
    unlabelled = RealImages(
        *(replace(data, classes=(), labels=data.labels * 0) for data in (real.train, real.test))
    )
    generator = Shelf(folder).place(gallery("gallery", pictures))
    return Subject(generator, unlabelled, images=200, presentations=presentations, seed=0)


def test_real_images_that_were_not_trained_on_are_not_called_copies(tmp_path: Path) -> None:
    train, others, test = (image_data(rows) for rows in (slice(300, 1400), slice(300), slice(1400, 1797)))
    found = measure(subject(others.images, RealImages(train, test), tmp_path, 3_000))
    for space in (found.pixels, found.features):
        assert 0.8 < space.ratio < 1.2
        assert space.nearer_share < 0.05


def test_the_test_images_that_are_compared_may_stand_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorisation, "IMAGES", 120)
    train, test = image_data(slice(1000)), image_data(slice(1400, 1797))
    # the first 130 are nearest to a training image, for they are some but for a grey level
    copies = np.minimum(train.images[:130], 254) + 1
    sorted_test = replace(test, images=np.concatenate([copies, test.images[130:]]))
    found = measure(subject(train.images[:20], RealImages(train, sorted_test), tmp_path, 200))
    assert found.test == 120
    assert found.pixels.test_median > 5


def test_copies_are_found_and_shown(tmp_path: Path) -> None:
    real = real_digits()
    found = measure(subject(real.train.images[40:140], real, tmp_path, 3_000))
    for space in (found.pixels, found.features):
        assert space.ratio < 0.01
        assert space.nearer_share == 1
        assert len({pair.train for pair in space.closest}) == len(space.closest) == 12
        assert all(40 <= pair.train < 140 for pair in space.closest)
        assert max(pair.distance for pair in space.closest) < 1e-3


def test_pixels_are_measured_in_grey_levels(tmp_path: Path) -> None:
    real = real_digits()
    brighter = np.minimum(real.train.images[:50], 245) + 10
    measured = subject(brighter, real, tmp_path, 200)
    for pair in measure(measured).pixels.closest:
        gap = measured.generated[pair.generated].astype(float) - real.train.images[pair.train]
        assert pair.distance == pytest.approx(np.sqrt((gap**2).mean()))
        assert 0 < pair.distance <= 10


def test_large_images_are_compared_small(tmp_path: Path) -> None:
    train, test = (
        replace(data, images=data.images.repeat(4, 1).repeat(4, 2))
        for data in (image_data(slice(100)), image_data(slice(100, 150)))
    )
    noise = np.random.default_rng(0).integers(-20, 21, (20, 64, 64, 1))
    noisy = (train.images[:20] + noise).clip(0, 255).astype(np.uint8)
    found = measure(subject(noisy, RealImages(train, test), tmp_path, 200))
    assert found.pixels.ratio < 0.3
    assert all(pair.train < 20 for pair in found.pixels.closest)


def test_a_generator_with_classes_is_measured_too(tmp_path: Path) -> None:
    real = real_digits()
    generator = Shelf(tmp_path).place(gallery("gallery", chosen(real, per_class=3)))
    found = measure(Subject(generator, real, images=100, presentations=1_000, seed=0))
    assert found.pixels.nearer_share == 1
    assert found.generated == 100
    assert found.test == len(real.test.images)
