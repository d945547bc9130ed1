"""What generated images add to real ones: classifiers of mixtures, at several amounts of real images."""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from tqdm import tqdm

from training.bars import BAR
from training.classifier import BATCH, Batch, fit_batches, shuffled
from training.kept import Kept
from training.pictures import Rows
from training.subject import Subject

# share of the real images: (seeds, share of --presentations)
AMOUNTS = {0.01: (3, 1 / 20), 0.1: (1, 1 / 10), 1.0: (1, 1 / 4)}
# None leaves the latents as they are; the others leave about 3/4 and 2/5 of their deviation
TRUNCATIONS = {"normal": (None, 1.5, 0.75), "uniform": (None, 0.75, 0.4)}
GENERATED_SHARES = (0.25, 0.5, 0.75)


class Mixture(BaseModel):
    """Accuracy, on the real test images, of a classifier that was shown such a mixture; one a seed.

    real_share: of the real training images, `real_images` in number; generated_share: of the images in each
    batch, 0 for real images alone; truncation: of the latents; presentations: images it was shown.
    """

    real_share: float
    real_images: int
    generated_share: float
    truncation: float | None
    presentations: int
    accuracies: list[float]

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies))


def alone(mixtures: list[Mixture], real_share: float) -> Mixture:
    """Real images alone, at this share of them."""
    return next(each for each in mixtures if each.real_share == real_share and not each.generated_share)


def by_accuracy(mixtures: list[Mixture], real_share: float) -> list[Mixture]:
    """With generated images, at this share of the real images, from the lowest accuracy to the highest."""
    mixed = (each for each in mixtures if each.real_share == real_share and each.generated_share)
    return sorted(mixed, key=lambda mixture: mixture.accuracy)


def study(subject: Subject, kept: Kept) -> list[Mixture]:
    """Real images alone, and with generated images of each truncation in each share of a batch."""
    truncations = TRUNCATIONS[subject.generator.contract.latent.distribution]
    recipes = [(None, 0.0), *product(truncations, GENERATED_SHARES)]
    shown = {
        amount: (seeds, max(BATCH, int(share * subject.presentations)))
        for amount, (seeds, share) in AMOUNTS.items()
    }
    total = len(recipes) * sum(seeds * presentations for seeds, presentations in shown.values())
    measured = []
    with tqdm(total=total, desc="real and generated", unit="img", unit_scale=True, **BAR) as bar:
        for (truncation, generated_share), real_share in product(recipes, AMOUNTS):
            seeds, presentations = shown[real_share]
            mixture = kept.part(
                f"mixture-{real_share}-{generated_share}-{truncation}",
                Mixture,
                partial(_measure, subject, real_share, generated_share, truncation, seeds, presentations),
            )
            measured.append(mixture)
            bar.update(seeds * presentations)
    return measured


def _measure(
    subject: Subject,
    real_share: float,
    generated_share: float,
    truncation: float | None,
    seeds: int,
    presentations: int,
) -> Mixture:
    accuracies = []
    for seed in range(subject.seed, subject.seed + seeds):
        chosen = _choose(subject.train_labels, real_share, seed)
        generated = round(BATCH * generated_share)
        real = Rows(subject.real.train.images, chosen)
        real_batches = shuffled(real, subject.train_labels[chosen], BATCH - generated, seed)
        batches = (
            _join(real_batches, shuffled(subject.truncated(truncation), subject.labels, generated, seed))
            if generated
            else real_batches
        )
        classifier = fit_batches(batches, len(subject.classes), presentations=presentations, seed=seed)
        accuracies.append(float((classifier.predict(subject.test_images) == subject.test_labels).mean()))
    return Mixture(
        real_share=real_share,
        real_images=len(chosen),
        generated_share=generated_share,
        truncation=truncation,
        presentations=presentations,
        accuracies=accuracies,
    )


def _choose(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """The numbers of a share of the images, of each class, at least one."""
    draws = np.random.default_rng(seed)
    members = [draws.permutation(np.flatnonzero(labels == number)) for number in np.unique(labels)]
    return np.concatenate([numbers[: max(1, round(share * len(numbers)))] for numbers in members])


def _join(first: Iterator[Batch], second: Iterator[Batch]) -> Iterator[Batch]:
    for (images, labels), (more, their_labels) in zip(first, second, strict=True):
        yield np.concatenate([images, more]), np.concatenate([labels, their_labels])
