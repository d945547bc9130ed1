"""Against generators whose scores are known before: one that shows real images, one that has collapsed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.shelf import Generator, Shelf
from tests.training.galleries import NAMES, chosen, gallery, real_digits
from training.scores import ClassScores, measure
from training.subject import RealImages, Subject


@pytest.fixture(scope="module")
def real() -> RealImages:
    return real_digits()


def scores(generator: Generator, real: RealImages) -> ClassScores:
    return measure(Subject(generator, real, images=2_000, presentations=15_000, seed=0))


def test_real_images_score_like_real_images(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", chosen(real, per_class=120)))
    overall = scores(generator, real).overall
    assert overall.real_accuracy > 0.93
    assert overall.label_agreement > 0.97
    assert overall.cas > 0.9
    assert overall.deviation_ratio == pytest.approx(1, abs=0.06)


def test_collapse_passes_agreement_and_fails_the_rest(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("collapsed", chosen(real, per_class=1)))
    overall = scores(generator, real).overall
    assert overall.label_agreement > 0.97
    assert overall.cas < 0.75
    assert overall.deviation_ratio == 0


def test_a_class_of_equal_images_has_no_spread_to_compare_with(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", chosen(real, per_class=5)))
    blank = np.where((real.train.labels == 3)[:, None, None, None], 0, real.train.images)
    by_class = scores(generator, RealImages(replace(real.train, images=blank), real.test)).by_class
    assert by_class["digit 3"].deviation_ratio == 1


def test_the_spread_is_that_of_numpy(real: RealImages, tmp_path: Path) -> None:
    pictures = chosen(real, per_class=40)
    by_class = scores(Shelf(tmp_path).place(gallery("real", pictures)), real).by_class
    generated = pictures[4].astype(float).std(axis=0).mean()
    learned = real.train.images[real.train.labels == 4].astype(float).std(axis=0).mean()
    # the gallery shows its 40 pictures at random
    assert by_class["digit 4"].deviation_ratio == pytest.approx(generated / learned, rel=0.05)


def test_swapped_labels_are_seen_class_by_class(real: RealImages, tmp_path: Path) -> None:
    order = [1, 0, *range(2, 10)]
    generator = Shelf(tmp_path).place(gallery("swapped", chosen(real, per_class=120)[order]))
    by_class = scores(generator, real).by_class
    assert by_class["digit 0"].label_agreement < 0.1
    assert by_class["digit 1"].cas < 0.2
    assert by_class["digit 5"].label_agreement > 0.9


def test_classes_are_matched_by_name(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", chosen(real, per_class=120)))
    backwards = RealImages(
        *(replace(data, labels=9 - data.labels, classes=NAMES[::-1]) for data in (real.train, real.test))
    )
    assert scores(generator, backwards).overall.label_agreement > 0.97
