"""How well a run draws: its pictures against held-out images, in the features of a small classifier."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.classifier import Classifier
from training.distances import Features, frechet, neighbourhoods
from training.game import Game
from training.held_out import Split
from training.stopping import Measurement

NEIGHBOURS = 3
# fewer images of a class say little about its variety
ENOUGH = 10

Labels = NDArray[np.int64]


class Quality:
    """The real side of all measurements of a run, and what it takes to measure the other."""

    def __init__(self, classifier: Classifier, real: Split, classes: tuple[str, ...]) -> None:
        self._classifier, self._real, self._classes = classifier, real, classes
        self._features = classifier.features(real.unseen.images)

    def measure(self, game: Game) -> Measurement:
        """Draw as many images as are held out, of the same classes, and compare.

        The latents are the same each time, so that measurements of one run differ by its weights alone.
        """
        seen, unseen = self._real.seen, self._real.unseen
        drawn = game.pictures(unseen.labels)
        features = self._classifier.features(drawn)
        spread = variety(self._features, features, unseen.labels)
        on_drawn = game.logits(drawn, unseen.labels)
        on_unseen, on_seen = (game.logits(part.images, part.labels) for part in (unseen, seen))
        return Measurement(
            images_seen=game.progress.images_seen,
            distance=frechet(self._features, features),
            recall=neighbourhoods(self._features, features, min(NEIGHBOURS, len(features) - 1)).recall,
            variety=spread.overall,
            least_variety=spread.least,
            least_class=None if spread.least_class is None else self._classes[spread.least_class],
            accuracy=balanced_accuracy(on_unseen, unseen.labels, on_drawn, unseen.labels),
            accuracy_on_seen=balanced_accuracy(on_seen, seen.labels, on_drawn, unseen.labels),
            class_variety={self._classes[number]: ratio for number, ratio in spread.by_class.items()},
        )


class Variety(NamedTuple):
    """Spread of generated features within a class over that of real ones.

    Over all classes; of the class where it is least; and of each class with enough images. Without two such
    classes, least is that over all.
    """

    overall: float
    least: float
    least_class: int | None
    by_class: dict[int, float]


def variety(real: Features, generated: Features, labels: Labels) -> Variety:
    """The spread is the root of the summed variances of features [n, d]; both sets have the same labels [n].

    That is the root mean square distance between two images of a class, over the root of 2. Classes of less
    than ten images count in `overall` alone.
    """
    numbers = np.bincount(labels)
    sums = [_squares_by_class(features, labels) for features in (real, generated)]
    ratios = {
        number: _ratio(sums[0][number], sums[1][number])
        for number in np.flatnonzero(numbers >= ENOUGH).tolist()
    }
    overall = _ratio(sums[0].sum(), sums[1].sum())
    if len(ratios) < 2:
        return Variety(overall, overall, None, {})
    least = min(ratios, key=lambda number: ratios[number])
    return Variety(overall, ratios[least], least, ratios)


def _squares_by_class(features: Features, labels: Labels) -> NDArray[np.float64]:
    """The summed squared distances of features from the mean of their class, for each class."""
    number = np.bincount(labels)
    means = np.zeros((len(number), features.shape[1]))
    np.add.at(means, labels, features)
    means /= np.maximum(number, 1)[:, np.newaxis]
    squares = ((features - means[labels]) ** 2).sum(axis=1)
    return np.bincount(labels, weights=squares).astype(np.float64)


def _ratio(real: float, generated: float) -> float:
    return float(np.sqrt(generated / real)) if real else 1.0


def balanced_accuracy(
    on_real: NDArray[np.float32], real: Labels, on_generated: NDArray[np.float32], generated: Labels
) -> float:
    """How often logits tell real images from generated ones: the mean of both shares that are judged rightly.

    Logits [n] with the labels [n] of their images. An image is called real when its logit is above the median
    of all of its class: that has a meaning for each loss, also where only differences between logits have
    one. One half is chance.
    """
    logits, labels = np.concatenate([on_real, on_generated]), np.concatenate([real, generated])
    medians = np.array(
        [
            np.median(logits[labels == number]) if (labels == number).any() else 0.0
            for number in range(labels.max() + 1)
        ]
    )
    called = on_real > medians[real], on_generated <= medians[generated]
    return float(np.mean([part.mean() for part in called]))
