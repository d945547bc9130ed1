"""Model cards in the Hugging Face format: `models/<name>/README.md`.

What Ganserve writes stands between marks, so that a person's own words around them are kept.
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData
from yaml import YAMLError

from models.mistake import Mistake
from models.shelf import Generator
from training.files import replacing
from training.hyperparameters import Hyperparameters

CARD_FILE = "README.md"


class CardError(Mistake):
    """A model card that is not to be read, and so not to be changed."""


@dataclass(frozen=True)
class TrainingFacts:
    """What a run knows beyond the contract."""

    hardware: str
    hours: float
    parameters: int
    hyperparameters: Hyperparameters


def write_version(generator: Generator, facts: TrainingFacts) -> None:
    """Describe the newest version in the card of its name; the card is made when there is none."""
    contract = generator.contract
    training = contract.training
    settings = facts.hyperparameters
    shape = contract.image
    kind = "class-conditional" if contract.classes else "unconditional"
    rows = [
        ("Image", f"{shape.width} x {shape.height}, {'grey' if shape.channels == 1 else 'RGB'}"),
        ("Latent", f"{contract.latent.dim}, {contract.latent.distribution}"),
        ("Classes", ", ".join(contract.classes) or "none"),
        ("Architecture", f"{training.architecture}, {facts.parameters:,} parameters, {kind}"),
        ("Data", training.dataset),
        ("Loss", training.loss),
        ("Batch", f"{settings.batch} images"),
        ("Learning rate", str(settings.learning_rate)),
        ("Warm-up", f"{settings.warmup:,} images"),
        ("EMA", f"half-life {settings.ema} images, up to a twentieth of those seen"),
        *([("A..B", f"over the first {settings.schedule:,} images")] if settings.schedule else []),
        ("Seed", f"{settings.seed}"),
        ("Images seen", f"{training.images_seen:,}"),
        ("Trained on", facts.hardware),
        ("Hours", f"{facts.hours:.1f}"),
        ("Source commit", f"`{training.source_commit}`"),
        ("SHA-256", f"`{generator.digest}`"),
    ]
    request: dict[str, object] = {"model": generator.name, "seed": 1}
    if contract.classes:
        request["label"] = contract.classes[0]
    body = f"""\
![Samples{", one row a class" if contract.classes else ""}]({generator.version}/samples.png)

{table(("", f"version {generator.version}"), rows)}

One image from a running Ganserve:

```sh
curl localhost:3000/generate -H 'Content-Type: application/json' \\
  -d {shlex.quote(json.dumps(request))} -o image.png
```"""
    path = _card_path(generator)
    card = read_card(path.parent)
    if card:
        card.data["license"] = contract.license
    else:
        data = ModelCardData(
            license=contract.license,
            library_name="onnx",
            pipeline_tag="unconditional-image-generation",
            tags=["gan", "ganserve"],
            model_name=generator.name,
        )
        card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {generator.name}\n")
    text = _replace(str(card), "version", body)
    # numbers of an older version say nothing about this one
    _write(path, _replace(text, "evaluation", f"Version {generator.version} has not been evaluated."))


def read_card(folder: Path) -> ModelCard | None:
    """The card in a generator's folder; None when there is none. Raises CardError."""
    path = folder / CARD_FILE
    if not path.exists():
        return None
    try:
        card: ModelCard = ModelCard.load(path, ignore_metadata_errors=True)
    except (ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CardError(
            f"{path} cannot be read: {reason}; mend what stands between its lines of ---"
        ) from None
    return card


def write_evaluation(generator: Generator, body: str) -> None:
    """Put an evaluation's table into the card."""
    path = _card_path(generator)
    read_card(path.parent)
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {generator.name}\n"
    _write(path, _replace(text, "evaluation", f"## Evaluation of version {generator.version}\n\n{body}"))


def _card_path(generator: Generator) -> Path:
    return generator.path.parent.parent / CARD_FILE


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    # a bar would end the cell, and a line break the row
    escaped = [[" ".join(cell.splitlines()).replace("|", "&#124;") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _replace(text: str, section: str, body: str) -> str:
    begin, end = f"<!-- ganserve: {section} -->", f"<!-- ganserve: end of {section} -->"
    block = f"{begin}\n{body}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: block, text, count=1)
    return f"{text.rstrip()}\n\n{block}\n"


def _write(path: Path, text: str) -> None:
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")
