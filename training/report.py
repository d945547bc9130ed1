"""What an evaluation leaves behind: evaluation.json and pictures beside the version, tables in the card."""

from pathlib import Path

from models.shelf import Shelf
from training import plots
from training.card import table, write_evaluation
from training.evaluation import Evaluation
from training.files import replacing
from training.mixing import Mixture, alone, by_accuracy
from training.subject import Subject

EVALUATION_FILE = "evaluation.json"


def write(subject: Subject, evaluation: Evaluation) -> Path:
    """Write evaluation.json and its pictures beside the version, and the newest version's into the card."""
    generator = subject.generator
    path = generator.path.with_name(EVALUATION_FILE)
    pictures = {"closest": plots.pairs(evaluation.memorisation, subject.generated, subject.real.train.images)}
    if evaluation.by_class:
        pictures["classes"] = plots.classes(evaluation.by_class)
        pictures["mixtures"] = plots.mixtures(evaluation.mixtures)
    for name, figure in pictures.items():
        with replacing(path.with_name(f"{path.stem}-{name}.png")) as aside:
            figure.savefig(aside, format="png", dpi=150)
    with replacing(path) as aside:
        aside.write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    newest = Shelf(generator.path.parents[2]).find(generator.name)
    if generator.version == newest.version:  # the card is about the newest version
        write_evaluation(generator, as_markdown(evaluation, f"{generator.version}/{path.stem}"))
    return path


def as_markdown(evaluation: Evaluation, pictures: str = "") -> str:
    """Tables, with what their numbers mean; `pictures` is what the paths of the pictures begin with."""
    counts = (
        f"{evaluation.generated_images:,} generated images against {evaluation.dataset} "
        f"({evaluation.train_images:,} training and {evaluation.test_images:,} test images)."
    )
    parts = [counts]
    if evaluation.overall:
        parts += [_classes(evaluation), _picture("Accuracy by class", pictures, "classes")]
    parts += [_inception(evaluation), _likeness(evaluation), _memorisation(evaluation)]
    parts.append(_picture("Generated images above the training images nearest to them", pictures, "closest"))
    if evaluation.mixtures:
        parts += [_mixtures(evaluation.mixtures), _picture("Real and generated images", pictures, "mixtures")]
    return "\n\n".join(part for part in parts if part)


def _picture(words: str, pictures: str, name: str) -> str:
    return f"![{words}]({pictures}-{name}.png)" if pictures else ""


def _classes(evaluation: Evaluation) -> str:
    words = (
        "Real on real is the accuracy of a small classifier trained on real images; label agreement is how "
        "often it gives a generated image the label it was made with; CAS is the accuracy, on the real test "
        "images, of the same classifier trained on generated images only; deviation is that of the pixels "
        "within a class, generated over real."
    )
    rows = [
        (
            name,
            f"{scores.real_accuracy:.1%}",
            f"{scores.label_agreement:.1%}",
            f"{scores.cas:.1%}",
            f"{scores.deviation_ratio:.2f}",
        )
        for name, scores in (*evaluation.by_class.items(), ("**all**", evaluation.overall))
        if scores
    ]
    return f"{words}\n\n{table(('class', 'real on real', 'label agreement', 'CAS', 'deviation'), rows)}"


def _inception(evaluation: Evaluation) -> str:
    found = evaluation.inception
    if found is None:
        return f"FID, KID and Inception score were not measured: {evaluation.inception_unavailable}."
    return (
        f"In the features of Inception, {found.generated_images:,} generated against {found.real_images:,} "
        f"training images: FID {found.fid:.2f}, KID {found.kid:.5f} ± {found.kid_deviation:.5f}, Inception "
        f"score {found.inception_score:.2f} ± {found.inception_score_deviation:.2f}, precision "
        f"{found.precision:.1%}, recall {found.recall:.1%}."
    )


def _likeness(evaluation: Evaluation) -> str:
    found = evaluation.classifier_features
    words = (
        f"Against {found.images:,} real test images, in the features of a small classifier that learned "
        f"{found.features}. These are no FID and no KID: they compare generators of the same images under "
        "the same settings, and nothing else."
    )
    rows = [
        (
            name,
            f"{of.frechet:.3g}",
            f"{of.kernel:.2g}",
            f"{of.precision:.1%}",
            f"{of.recall:.1%}",
            f"{of.density:.2f}",
            f"{of.coverage:.1%}",
        )
        for name, of in (("generated", found.generated), ("real training images", found.real))
    ]
    head = ("", "Fréchet distance", "kernel distance", "precision", "recall", "density", "coverage")
    return f"{words}\n\n{table(head, rows)}"


def _memorisation(evaluation: Evaluation) -> str:
    found = evaluation.memorisation
    words = (
        f"Distance to the nearest training image, as the median of {found.generated:,} generated and of "
        f"{found.test:,} real test images. A ratio far below 1, or a last column far above 1 %, says "
        "that training images are copied."
    )
    rows = [
        (
            name,
            f"{of.generated_median:.3g}",
            f"{of.test_median:.3g}",
            f"{of.ratio:.2f}",
            f"{of.nearer_share:.1%}",
        )
        for name, of in (("pixels, grey levels", found.pixels), ("features", found.features))
    ]
    head = ("in", "generated", "test", "ratio", "generated nearer than the nearest 1 % of test")
    return f"{words}\n\n{table(head, rows)}"


def _mixtures(mixtures: list[Mixture]) -> str:
    words = (
        "Accuracy of the same classifier on the real test images, trained on part of the real images, alone "
        "and mixed with generated ones, in equally many steps. The generator itself learned from all real "
        "images but the few that its training held out."
    )
    rows = []
    for amount in dict.fromkeys(mixture.real_share for mixture in mixtures):
        real, mixed = alone(mixtures, amount), by_accuracy(mixtures, amount)
        best = mixed[-1]
        kind = "untruncated" if best.truncation is None else f"truncation {best.truncation:g}"
        rows.append(
            (
                f"{amount:.0%} ({real.real_images:,})",
                _accuracy(real),
                _accuracy(mixed[0]),
                _accuracy(best),
                f"{best.generated_share:.0%} generated, {kind}",
            )
        )
    head = ("real images", "alone", "lowest mixture", "highest mixture", "which is")
    return f"{words}\n\n{table(head, rows)}"


def _accuracy(mixture: Mixture) -> str:
    """With the spread over the seeds, where there are several."""
    lowest, highest = min(mixture.accuracies), max(mixture.accuracies)
    spread = f" ({lowest:.1%} to {highest:.1%})" if len(mixture.accuracies) > 1 else ""
    return f"{mixture.accuracy:.1%}{spread}"
