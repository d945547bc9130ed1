"""How like the real images the generated ones are, in the features of a classifier of the real images.

These are not FID, KID, precision and recall as published, which take the features of an Inception network.
"""

import numpy as np
from pydantic import BaseModel

from training.distances import Features, frechet, kernel, neighbourhoods
from training.subject import Subject

IMAGES = 10_000  # of each set, at most: the neighbourhoods take time and memory in its square
NEIGHBOURS = 5  # k of Naeem et al. 2020


class Likeness(BaseModel):
    """Of one set of images to the real test images; see training.distances."""

    frechet: float
    kernel: float
    precision: float
    recall: float
    density: float
    coverage: float


class ClassifierLikeness(BaseModel):
    """Of the generated images and, as the value to compare with, of real training images.

    features: what the classifier learned; images: in each of the sets.
    """

    features: str
    images: int
    generated: Likeness
    real: Likeness


def measure(subject: Subject) -> ClassifierLikeness:
    """Three sets of equally many images, chosen at random."""
    sets = subject.test_images, subject.generated, subject.real.train.images
    images = min(IMAGES, *(len(every) for every in sets))
    draws = np.random.default_rng(subject.seed)
    test, generated, train = (
        subject.classifier.features(every[np.sort(draws.permutation(len(every))[:images])]) for every in sets
    )
    return ClassifierLikeness(
        features="the classes of the real images"
        if subject.classes
        else "which quarter turn an image was given",
        images=images,
        generated=_likeness(test, generated),
        real=_likeness(test, train),
    )


def _likeness(test: Features, other: Features) -> Likeness:
    shares = neighbourhoods(test, other, NEIGHBOURS)
    return Likeness(frechet=frechet(test, other), kernel=kernel(test, other), **shares._asdict())
