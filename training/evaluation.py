"""How good an exported generator is, measured on the file itself through ONNX Runtime."""

import hashlib
import sys
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from training import inception, likeness, memorisation, mixing, scores
from training.inception import InceptionScores, InceptionUnavailable
from training.kept import Kept
from training.likeness import ClassifierLikeness
from training.memorisation import Memorisation
from training.mixing import Mixture
from training.run import source_commit
from training.scores import ClassScores, Scores
from training.subject import Subject


class Evaluation(BaseModel):
    """What evaluation.json holds; overall, by_class and mixtures are of generators with classes alone.

    inception: as others publish it, or else inception_unavailable says why there is none.
    classifier_features: distances in the features of a classifier of these images; they are no FID.
    """

    generator: str
    digest: str
    dataset: str
    generated_images: int
    train_images: int
    test_images: int
    presentations: int
    seed: int
    source_commit: str
    overall: Scores | None
    by_class: dict[str, Scores]
    inception: InceptionScores | None
    inception_unavailable: str | None
    classifier_features: ClassifierLikeness
    memorisation: Memorisation
    mixtures: list[Mixture]


def evaluate(subject: Subject, kept: Kept, inception_weights: Path | None = None) -> Evaluation:
    """Measure all that fits the generator, or take what was kept of it."""
    generator, real = subject.generator, subject.real
    published, unavailable = None, None
    try:
        published = kept.part(
            _inception_part(inception_weights),
            InceptionScores,
            lambda: inception.measure(real.train.images, subject.generated, inception_weights),
        )
    except InceptionUnavailable as error:
        unavailable = str(error)
        print(f"no FID, KID or Inception score: {unavailable}", file=sys.stderr)
    classes = None
    if subject.classes:
        classes = kept.part("classes", ClassScores, partial(scores.measure, subject))
    return Evaluation(
        generator=generator.reference,
        digest=generator.digest,
        dataset=real.train.name,
        generated_images=subject.images,
        train_images=len(real.train.images),
        test_images=len(subject.test_images),
        presentations=subject.presentations,
        seed=subject.seed,
        source_commit=source_commit(),
        overall=classes and classes.overall,
        by_class=classes.by_class if classes else {},
        inception=published,
        inception_unavailable=unavailable,
        classifier_features=kept.part("likeness", ClassifierLikeness, partial(likeness.measure, subject)),
        memorisation=kept.part("memorisation", Memorisation, partial(memorisation.measure, subject)),
        mixtures=mixing.study(subject, kept) if subject.classes else [],
    )


def _inception_part(weights: Path | None) -> str:
    """Other weights give other measures."""
    if weights is None:
        return "inception"
    with weights.open("rb") as file:
        return f"inception-{hashlib.file_digest(file, 'sha256').hexdigest()}"
