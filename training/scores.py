"""What the classes of a generator are worth: label agreement, classification accuracy score, variety."""

import numpy as np
from pydantic import BaseModel

from training.classifier import fit
from training.pictures import Pictures, Rows
from training.subject import Subject

BLOCK = 1_000  # images that are in memory at once


class Scores(BaseModel):
    """Of one class, or the mean over all; shares of 1, but for `deviation_ratio`.

    real_accuracy: of the classifier trained on real images, on real test images.
    label_agreement: how often that classifier gives generated images the label they were made with.
    cas: classification accuracy score, of the classifier trained on generated images alone, on real test
    images (Ravuri & Vinyals 2019, arXiv 1905.10887).
    deviation_ratio: standard deviation of the generated pixels within a class over that of the real ones;
    near 0 when a class has collapsed into one picture.
    """

    real_accuracy: float
    label_agreement: float
    cas: float
    deviation_ratio: float


class ClassScores(BaseModel):
    overall: Scores
    by_class: dict[str, Scores]


def measure(subject: Subject) -> ClassScores:
    """Of a generator with classes."""
    generated, labels, test_labels = subject.generated, subject.labels, subject.test_labels
    real = subject.real
    pupil = fit(
        generated,
        labels,
        len(subject.classes),
        presentations=subject.presentations,
        seed=subject.seed,
        title="on generated images",
    )
    right = subject.classifier.predict(subject.test_images) == test_labels
    agrees = subject.classifier.predict(generated) == labels
    learned = pupil.predict(subject.test_images) == test_labels
    by_class = {
        name: Scores(
            real_accuracy=float(right[test_labels == number].mean()),
            label_agreement=float(agrees[labels == number].mean()),
            cas=float(learned[test_labels == number].mean()),
            deviation_ratio=_ratio(
                _deviation(Rows(generated, np.flatnonzero(labels == number))),
                _deviation(Rows(real.train.images, np.flatnonzero(subject.train_labels == number))),
            ),
        )
        for number, name in enumerate(subject.classes)
    }
    return ClassScores(
        overall=Scores(
            real_accuracy=float(right.mean()),
            label_agreement=float(agrees.mean()),
            cas=float(learned.mean()),
            deviation_ratio=float(np.mean([scores.deviation_ratio for scores in by_class.values()])),
        ),
        by_class=by_class,
    )


def _deviation(images: Pictures) -> float:
    """Standard deviation over the images, averaged over the pixels, in grey levels."""
    number, sums, squares = len(images), np.int64(0), np.int64(0)
    for start in range(0, number, BLOCK):
        block = images[start : start + BLOCK].astype(np.int64)
        sums, squares = sums + block.sum(axis=0), squares + (block**2).sum(axis=0)
    return float(np.sqrt(number * squares - sums**2).mean() / number)


def _ratio(generated: float, real: float) -> float:
    """Of deviations; 1 where the real images of a class are all the same."""
    return generated / real if real else 1.0
