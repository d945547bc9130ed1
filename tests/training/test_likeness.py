from dataclasses import replace
from pathlib import Path

import pytest

from models.shelf import Shelf
from tests.training.galleries import chosen, gallery, real_digits
from training.likeness import ClassifierLikeness, measure
from training.subject import RealImages, Subject


@pytest.fixture(scope="module")
def real() -> RealImages:
    return real_digits()


def likeness(real: RealImages, folder: Path, per_class: int, *, classes: bool = True) -> ClassifierLikeness:
    pictures = chosen(real, per_class)
    if not classes:
        pictures = pictures.reshape(-1, *pictures.shape[2:])
        real = RealImages(
            *(replace(data, classes=(), labels=data.labels * 0) for data in (real.train, real.test))
        )
    generator = Shelf(folder).place(gallery("gallery", pictures))
    return measure(Subject(generator, real, images=600, presentations=6_000, seed=0))


@pytest.mark.parametrize("classes", [True, False])
def test_real_images_are_as_like_as_real_ones(real: RealImages, tmp_path: Path, *, classes: bool) -> None:
    found = likeness(real, tmp_path, 120, classes=classes)
    assert found.images == len(real.test.images)
    assert found.features == (
        "the classes of the real images" if classes else "which quarter turn an image was given"
    )
    assert found.generated.frechet < 2 * found.real.frechet
    assert found.generated.precision == pytest.approx(found.real.precision, abs=0.05)
    assert found.generated.coverage == pytest.approx(found.real.coverage, abs=0.1)


@pytest.mark.parametrize("classes", [True, False])
def test_collapse_is_precise_and_has_neither_recall_nor_coverage(
    real: RealImages, tmp_path: Path, *, classes: bool
) -> None:
    found = likeness(real, tmp_path, 1, classes=classes)
    assert found.generated.precision > 0.7
    assert found.generated.recall < 0.05
    assert found.generated.coverage < found.real.coverage / 2
    assert found.generated.frechet > 3 * found.real.frechet
