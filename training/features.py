"""The features in which a run measures what it draws: those of a classifier that learned its own images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import checkpoint
from training.classifier import Classifier, fit
from training.held_out import Part, Pictures

CLASSIFIER_FILE = "classifier.pt"
TURNS = 4
# images shown to the classifier: each of them so often, within bounds
EPOCHS, FEWEST, MOST = 10, 3_000, 30_000


@dataclass(frozen=True)
class Turned:
    """Each image four times: upright, and after one, two and three quarter turns, uint8 [4 n, H, W, C]."""

    images: Pictures

    def __len__(self) -> int:
        return TURNS * len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.images.shape[1:]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        rows, turns = np.divmod(np.arange(len(self))[rows], TURNS)
        return np.stack([np.rot90(image, turn) for image, turn in zip(self.images[rows], turns, strict=True)])


def fitted(folder: Path, learned: Part, classes: int, seed: int) -> Classifier:
    """The classifier of the run in `folder`, fitted when the run begins and kept there.

    It learns the classes, or, where there is but one, which quarter turn an image was given (Gidaris et al.
    2018, arXiv 1803.07728). Raises CheckpointError when the one that is kept cannot be read.
    """
    path = folder / CLASSIFIER_FILE
    _, resolution, _, channels = learned.images.shape
    turned = classes < 2
    if path.exists():
        classifier = Classifier(resolution, channels, TURNS if turned else classes)
        checkpoint.load(path, {"classifier": classifier})
        return classifier
    images: Pictures
    if turned:
        images = Turned(learned.images)
        labels, classes = np.arange(len(images)) % TURNS, TURNS
    else:
        images, labels = learned.images, learned.labels
    presentations = min(MOST, max(FEWEST, EPOCHS * len(learned.images)))
    classifier = fit(images, labels, classes, presentations=presentations, seed=seed, title="features")
    checkpoint.save(path, {"classifier": classifier})
    return classifier
