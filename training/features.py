"""The features in which a run measures what it draws: those of a classifier that learned its own images."""

import sys
from pathlib import Path

from training import checkpoint
from training.classifier import TURNS, Classifier, fit
from training.held_out import Part
from training.run import CLASSIFIER_FILE

# images shown to the classifier: each of them so often, within bounds
EPOCHS, FEWEST, MOST = 10, 3_000, 30_000


def fitted(folder: Path, learned: Part, classes: int, seed: int) -> Classifier:
    """The classifier of the run in `folder`, fitted when the run begins and kept there.

    One that is kept and cannot be read is fitted again. Raises CheckpointError when it does not fit.
    """
    path = folder / CLASSIFIER_FILE
    if checkpoint.exists(path):
        _, resolution, _, channels = learned.images.shape
        classifier = Classifier(resolution, channels, classes or TURNS)
        try:
            checkpoint.load(path, {"classifier": classifier})
        except checkpoint.AllDamaged:
            print(f"ganserve: {path} is damaged; it is fitted again", file=sys.stderr)
        else:
            return classifier
    presentations = min(MOST, max(FEWEST, EPOCHS * len(learned.images)))
    classifier = fit(
        learned.images, learned.labels, classes, presentations=presentations, seed=seed, title="features"
    )
    checkpoint.save(path, {"classifier": classifier})
    return classifier
