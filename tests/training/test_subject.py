from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.shelf import Generator, Shelf
from tests.generators import tiny_generator
from tests.training.galleries import chosen, gallery, real_digits
from training.subject import EvaluationError, RealImages, Subject


@pytest.fixture(scope="module")
def real() -> RealImages:
    return real_digits()


@pytest.fixture(scope="module")
def generator(real: RealImages, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Shelf(tmp_path_factory.mktemp("shelf")).place(gallery("real", chosen(real, per_class=2)))


def subject(generator: Generator, real: RealImages, images: int | None = None) -> Subject:
    return Subject(generator, real, images, presentations=1_000, seed=0)


def test_there_is_a_generated_image_of_its_class_for_each_training_image(
    generator: Generator, real: RealImages
) -> None:
    labels = subject(generator, real).labels
    assert Counter(labels.tolist()) == Counter(real.train.labels.tolist())
    assert not np.array_equal(labels, np.sort(labels))


def test_fewer_images_keep_the_frequencies_of_the_classes(generator: Generator, real: RealImages) -> None:
    rows = np.flatnonzero((real.train.labels != 3) | (np.arange(1400) % 4 == 0))
    uneven = replace(real.train, images=real.train.images[rows], labels=real.train.labels[rows])
    counts = np.bincount(subject(generator, RealImages(uneven, real.test), 300).labels)
    shares = np.bincount(uneven.labels) / len(uneven.labels)
    assert np.abs(counts - 300 * shares).max() <= 1


def test_images_have_the_classes_of_their_labels(generator: Generator, real: RealImages) -> None:
    measured = subject(generator, real, 40)
    shown = chosen(real, per_class=2)
    for image, label in zip(measured.generated, measured.labels, strict=True):
        assert any(np.array_equal(image, picture) for picture in shown[label])


def test_other_classes_are_refused(real: RealImages, tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"tiny:1 has the classes a, b, c; the images of digits have digit 0"
    ):
        subject(Shelf(tmp_path).place(tiny_generator()), real)


def test_shapes_that_are_not_measured_are_refused(real: RealImages, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for model in (tiny_generator("wide", width=32), tiny_generator("mapped", truncation="mapping")):
        with pytest.raises(EvaluationError, match="truncates in its mapping network or is not square"):
            subject(shelf.place(model), real)


def test_too_few_images_are_refused(generator: Generator, real: RealImages) -> None:
    with pytest.raises(EvaluationError, match=r"15 images leave 1 for the class digit \d; raise --images"):
        subject(generator, real, 15)
    few = replace(real.test, images=real.test.images[:9], labels=real.test.labels[:9])
    with pytest.raises(EvaluationError, match="digits has 9 test images; expected 10 or more"):
        subject(generator, RealImages(real.train, few))
    with pytest.raises(EvaluationError, match="digits has 9 training images; expected 10 or more"):
        subject(generator, RealImages(few, real.test))


def test_test_images_that_were_trained_on_are_left_out(
    generator: Generator, real: RealImages, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.concatenate([real.train.images[:7], real.test.images])
    labels = np.concatenate([real.train.labels[:7], real.test.labels])
    measured = subject(generator, RealImages(real.train, replace(real.test, images=images, labels=labels)))
    assert "left out 7 test images of digits that are training images" in capsys.readouterr().err
    assert np.array_equal(measured.test_images[:], real.test.images)
    assert np.array_equal(measured.test_labels, real.test.labels)


def test_a_class_of_test_images_that_were_all_trained_on_is_refused(
    generator: Generator, real: RealImages
) -> None:
    train = np.concatenate([real.train.images, real.test.images[real.test.labels == 3]])
    labels = np.append(real.train.labels, np.full(len(train) - len(real.train.images), 3))
    with pytest.raises(EvaluationError, match="digits has no test images of digit 3; add some"):
        subject(generator, RealImages(replace(real.train, images=train, labels=labels), real.test))


def test_test_images_that_were_trained_on_are_refused(generator: Generator, real: RealImages) -> None:
    with pytest.raises(EvaluationError, match="most test images of digits are training images"):
        subject(generator, RealImages(real.train, real.train))
