"""What an evaluation works on: the generator's images beside real ones, each made when first needed."""

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import scipy
import torch
from numpy.typing import NDArray

import models
import training
from models.mistake import Mistake
from models.shelf import Generator
from training.classifier import Classifier, fit
from training.data import ImageData
from training.exported import ExportedGenerator
from training.pictures import Rows

FEWEST = 10  # real images; fewer say nothing


class EvaluationError(Mistake):
    """A generator that cannot be measured against these images."""


@dataclass(frozen=True)
class RealImages:
    """The images to learn the classes from, and those to test on, which no training may have seen."""

    train: ImageData
    test: ImageData


class Subject:
    """A generator, real images, and how much to measure. Raises EvaluationError when they do not fit.

    images: how many to generate, with the classes as frequent as in training; None for as many as there are
    training images, as for CAS (Ravuri & Vinyals 2019, arXiv 1905.10887).
    presentations: images that each classifier is shown while it trains.
    """

    def __init__(
        self, generator: Generator, real: RealImages, images: int | None, presentations: int, seed: int
    ) -> None:
        refuse_unfit(generator)
        self.generator, self.real = generator, real
        self.presentations, self.seed = presentations, seed
        self.classes = generator.contract.classes
        self.train_labels = _match(real.train, generator)
        self.test_images, self.test_labels = self._unseen()
        sets = ("training", real.train, self.train_labels), ("test", real.test, self.test_labels)
        for kind, data, labels in sets:
            if len(labels) < FEWEST:
                raise EvaluationError(
                    f"{data.name} has {len(labels)} {kind} images; expected {FEWEST} or more"
                )
            missing = set(range(len(self.classes))) - set(labels.tolist())
            if missing:
                names = ", ".join(self.classes[number] for number in sorted(missing))
                raise EvaluationError(f"{data.name} has no {kind} images of {names}; add some")
        self.images = len(real.train.images) if images is None else images
        self.labels = _draw_labels(self.train_labels, self.images, seed)
        counts = np.bincount(self.labels, minlength=len(self.classes))
        if self.classes and counts.min() < 2:
            raise EvaluationError(
                f"{self.images} images leave {counts.min()} for the class {self.classes[counts.argmin()]}; "
                "raise --images"
            )
        self._truncated: tuple[float, NDArray[np.uint8]] | None = None

    def _unseen(self) -> tuple[Rows, NDArray[np.int64]]:
        """The test images that are no training images, and their labels."""
        data = self.real.test
        labels = _match(data, self.generator)
        known = {hash(image.tobytes()) for image in self.real.train.images}
        rows = np.flatnonzero([hash(image.tobytes()) not in known for image in data.images])
        seen = len(data.images) - len(rows)
        if seen > len(data.images) / 2:
            raise EvaluationError(
                f"most test images of {data.name} are training images; name others with --test"
            )
        if seen:
            print(f"left out {seen:,} test images of {data.name} that are training images", file=sys.stderr)
        return Rows(data.images, rows), labels[rows]

    @property
    def settings(self) -> dict[str, object]:
        """All that the measures depend on."""
        return {
            "code": _code(),
            "packages": [package.__version__ for package in (np, onnxruntime, scipy, torch)],
            "digest": self.generator.digest,
            "train": self.real.train.fingerprint,
            "test": self.real.test.fingerprint,
            "images": self.images,
            "presentations": self.presentations,
            "seed": self.seed,
        }

    @cached_property
    def generated(self) -> NDArray[np.uint8]:
        """Images of `labels`, uint8 [images, H, W, C]."""
        return self._generate(None)

    def truncated(self, truncation: float | None) -> NDArray[np.uint8]:
        """Images of the same labels from latents within this bound."""
        if truncation is None:
            return self.generated
        if self._truncated is None or self._truncated[0] != truncation:  # those of one bound fill memory
            self._truncated = None
            self._truncated = truncation, self._generate(truncation)
        return self._truncated[1]

    def _generate(self, truncation: float | None) -> NDArray[np.uint8]:
        exported = ExportedGenerator(self.generator.path, self.generator.contract)
        return exported.generate(self.labels, self.seed, truncation)

    @cached_property
    def classifier(self) -> Classifier:
        """A classifier of the real training images: of their classes, or else of quarter turns."""
        return fit(
            self.real.train.images,
            self.train_labels,
            len(self.classes),
            presentations=self.presentations,
            seed=self.seed,
            title="on real images" if self.classes else "on turned real images",
        )


def _code() -> str:
    """SHA-256 of our files: a commit would not tell of a change that is not committed."""
    files = [file for room in (training, models) for file in sorted(Path(room.__path__[0]).glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def refuse_unfit(generator: Generator) -> None:
    """Raise EvaluationError for a generator that these measures do not fit."""
    contract = generator.contract
    if contract.truncation == "mapping" or contract.image.height != contract.image.width:
        raise EvaluationError(
            f"{generator.reference} truncates in its mapping network or is not square, which is not measured"
        )


def _match(data: ImageData, generator: Generator) -> NDArray[np.int64]:
    """The labels of the data, numbered as the generator numbers its classes; all 0 when it has none."""
    classes = generator.contract.classes
    if not classes:
        return np.zeros(len(data.labels), np.int64)
    if set(data.classes) != set(classes):
        raise EvaluationError(
            f"{generator.reference} has the classes {', '.join(classes)}; "
            f"the images of {data.name} have {', '.join(data.classes) or 'none'}"
        )
    number = np.array([classes.index(name) for name in data.classes])
    return number[data.labels]


def _draw_labels(train_labels: NDArray[np.int64], images: int, seed: int) -> NDArray[np.int64]:
    """Labels as frequent as in training, in a random order."""
    spread = np.sort(train_labels)[np.arange(images) * len(train_labels) // images]
    return np.random.default_rng(seed).permutation(spread)
