"""How good an exported generator is, measured on the file itself through ONNX Runtime."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.shelf import Generator, Shelf
from training.card import table, write_evaluation
from training.classifier import fit
from training.data import ImageData
from training.exported import ExportedGenerator
from training.files import replacing

EVALUATION_FILE = "evaluation.json"


class EvaluationError(ValueError):
    """A generator that cannot be measured against these images."""


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


class Evaluation(BaseModel):
    """What evaluation.json holds."""

    generator: str
    digest: str
    dataset: str
    generated_images: int
    train_images: int
    test_images: int
    seed: int
    overall: Scores
    by_class: dict[str, Scores]


@dataclass(frozen=True)
class RealImages:
    """The images to learn the classes from, and those to test on, which no training may have seen."""

    train: ImageData
    test: ImageData


def evaluate(
    generator: Generator, real: RealImages, *, images: int, seed: int, presentations: int
) -> Evaluation:
    """Measure `images` generated images, equally many of each class.

    Both classifiers are shown `presentations` images while they train. Raises EvaluationError.
    """
    refuse_unfit(generator)
    classes = generator.contract.classes
    if images < 2 * len(classes):
        raise EvaluationError(f"{images} images are too few for {len(classes)} classes; raise --images")
    train_labels, test_labels = (_match(data, generator) for data in (real.train, real.test))
    labels = np.arange(images) % len(classes)
    generated = ExportedGenerator(generator.path, generator.contract).generate(labels, seed)

    judge = fit(
        real.train.images,
        train_labels,
        len(classes),
        presentations=presentations,
        seed=seed,
        title="on real images",
    )
    pupil = fit(
        generated, labels, len(classes), presentations=presentations, seed=seed, title="on generated images"
    )
    right = judge.predict(real.test.images) == test_labels
    agrees = judge.predict(generated) == labels
    learned = pupil.predict(real.test.images) == test_labels
    by_class = {
        name: Scores(
            real_accuracy=float(right[test_labels == number].mean()),
            label_agreement=float(agrees[labels == number].mean()),
            cas=float(learned[test_labels == number].mean()),
            deviation_ratio=_deviation(generated[labels == number])
            / _deviation(real.train.images[train_labels == number]),
        )
        for number, name in enumerate(classes)
    }
    return Evaluation(
        generator=generator.reference,
        digest=generator.digest,
        dataset=real.train.name,
        generated_images=images,
        train_images=len(train_labels),
        test_images=len(test_labels),
        seed=seed,
        overall=Scores(
            real_accuracy=float(right.mean()),
            label_agreement=float(agrees.mean()),
            cas=float(learned.mean()),
            deviation_ratio=float(np.mean([scores.deviation_ratio for scores in by_class.values()])),
        ),
        by_class=by_class,
    )


def refuse_unfit(generator: Generator) -> None:
    """Raise EvaluationError for a generator that these measures do not fit."""
    contract = generator.contract
    if not contract.classes:
        raise EvaluationError(f"{generator.reference} is unconditional: label agreement and CAS need classes")
    if contract.truncation == "mapping" or contract.image.height != contract.image.width:
        raise EvaluationError(
            f"{generator.reference} truncates in its mapping network or is not square, which is not measured"
        )


def write(generator: Generator, evaluation: Evaluation) -> Path:
    """Write evaluation.json beside the version, and the newest version's table into the card."""
    path = generator.path.with_name(EVALUATION_FILE)
    with replacing(path) as aside:
        aside.write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    newest = Shelf(generator.path.parents[2]).find(generator.name)
    if generator.version == newest.version:  # the card is about the newest version
        write_evaluation(generator, as_markdown(evaluation))
    return path


def as_markdown(evaluation: Evaluation) -> str:
    """Markdown: a line on what was measured, then a row a class and one for all."""
    rows = [
        (
            name,
            f"{scores.real_accuracy:.1%}",
            f"{scores.label_agreement:.1%}",
            f"{scores.cas:.1%}",
            f"{scores.deviation_ratio:.2f}",
        )
        for name, scores in (*evaluation.by_class.items(), ("**all**", evaluation.overall))
    ]
    return (
        f"{evaluation.generated_images:,} generated images against {evaluation.dataset} "
        f"({evaluation.train_images:,} training and {evaluation.test_images:,} test images). "
        "Real on real is the accuracy of a small classifier trained on real images; label agreement is how "
        "often it gives a generated image the label it was made with; CAS is the accuracy, on the real test "
        "images, of the same classifier trained on generated images only; deviation is that of the pixels "
        "within a class, generated over real.\n\n"
        + table(("class", "real on real", "label agreement", "CAS", "deviation"), rows)
    )


def _match(data: ImageData, generator: Generator) -> NDArray[np.int64]:
    """The labels of the data, numbered as the generator numbers its classes."""
    contract = generator.contract
    if set(data.classes) != set(contract.classes):
        raise EvaluationError(
            f"{generator.reference} has the classes {', '.join(contract.classes)}; "
            f"the images of {data.name} have {', '.join(data.classes) or 'none'}"
        )
    number = np.array([contract.classes.index(name) for name in data.classes])
    return number[data.labels]


def _deviation(images: NDArray[np.uint8]) -> float:
    """Standard deviation over the images, averaged over the pixels, in grey levels."""
    return float(images.astype(np.float32).std(axis=0).mean())
