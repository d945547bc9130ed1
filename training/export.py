"""A trained generator as one self-describing ONNX file, checked against PyTorch pixel by pixel."""

import logging
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn

from models.contract import MINIMUM_OPSET, Contract, ImageShape, Latent, Training, attach
from models.shelf import Generator as ShelvedGenerator
from models.shelf import Shelf
from training import checkpoint
from training.card import TrainingFacts, read_card, write_version
from training.exported import ExportedGenerator
from training.game import Game
from training.graph import lighten
from training.networks import Generator
from training.parity import PARITY_BATCHES, PARITY_EQUAL, Parity, ParityError, compare
from training.run import BEST_FILE, CHECKPOINT_FILE, RunError, RunRecord, read
from training.sample_grid import sample_grid, sample_labels, write_picture
from training.stopping import Measurement, best

SAMPLES_FILE = "samples.png"


class Export(NamedTuple):
    """What was put on the shelf, how it compares with PyTorch, and of which state of the run it is.

    measured: None when that is the newest state, and not the best.
    """

    generator: ShelvedGenerator
    parities: list[Parity]
    images_seen: int
    measured: Measurement | None


def export_run(folder: Path, name: str, license_: str, shelf: Shelf) -> Export:
    """Put the moving average of a run's generator on the shelf, with samples and a model card.

    It is that of the best checkpoint; of the newest where there is none.
    Raises RunError or CheckpointError when the run cannot be read, ValidationError when the contract has a
    bad name, ParityError when ONNX Runtime and PyTorch disagree, CardError when the card cannot be kept: then
    nothing is written.
    """
    record = read(folder)
    game = Game(record, torch.device("cpu"))
    of_best = checkpoint.exists(folder / BEST_FILE)
    try:
        game.load(folder, BEST_FILE if of_best else CHECKPOINT_FILE)
    except checkpoint.AllDamaged as damaged:
        remedy = f", or remove them: {CHECKPOINT_FILE} is exported then" if of_best else ""
        raise RunError(f"{damaged}{remedy}") from None
    contract = contract_of(record, game, name, license_)
    read_card(shelf.root / name)  # one that cannot be kept is told before the work, and before a version
    model = to_onnx(game.average, contract)
    parities = [compare(game.average, model, contract, batch) for batch in PARITY_BATCHES]
    if failed := [parity for parity in parities if not parity.holds]:
        worst = min(failed, key=lambda parity: (-parity.worst, parity.equal))
        raise ParityError(
            f"the exported graph does not draw what PyTorch draws, nothing was written; {worst} "
            f"(expected at most 1, and at least {PARITY_EQUAL:.1%})"
        )
    shelved = shelf.place(model)
    images = ExportedGenerator(shelved.path, contract).generate(
        sample_labels(len(contract.classes)), record.hyperparameters.seed
    )
    write_picture(shelved.path.with_name(SAMPLES_FILE), sample_grid(images))
    facts = TrainingFacts(
        hardware=game.progress.hardware,
        hours=game.progress.seconds / 3600,
        parameters=sum(parameter.numel() for parameter in game.average.parameters()),
        hyperparameters=record.hyperparameters,
    )
    write_version(shelved, facts)
    measured = game.progress.measured
    return Export(shelved, parities, game.progress.images_seen, best(measured) if of_best else None)


def to_onnx(generator: Generator, contract: Contract) -> onnx.ModelProto:
    """The generator as an ONNX model that keeps the contract."""
    # a batch of 2, since the exporter takes a size of 1 for a constant
    widths = [contract.latent.dim, len(contract.classes)] if contract.classes else [contract.latent.dim]
    example = tuple(torch.zeros(2, width) for width in widths)
    batch = torch.export.Dim("batch")
    inputs = ["latent", "label"][: len(example)]
    with warnings.catch_warnings():
        # its warnings are about its own code; parity and contract judge what comes out
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Pixels(generator).eval(),
            example,
            input_names=inputs,
            output_names=["image"],
            opset_version=MINIMUM_OPSET,
            dynamo=True,
            dynamic_shapes={name: {0: batch} for name in inputs},
            verbose=False,
        )
    assert program is not None  # noqa: S101 - only the old exporter gives None
    lighten(program.model)
    model = program.model_proto
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter leaves paths of this machine there
    attach(model, contract)
    return model


class _Pixels(nn.Module):
    """The generator with uint8 pixels [batch, H, W, C] at its end."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        # `to_pixels` with less work: half a level more, since the conversion cuts the fraction off
        levels: Tensor = self.generator(latent, label) * 127.5 + 128
        return levels.permute(0, 2, 3, 1).clamp(0.0, 255.0).to(torch.uint8)


def contract_of(record: RunRecord, game: Game, name: str, license_: str) -> Contract:
    """What the exported file of a run will say about itself."""
    settings = record.hyperparameters
    return Contract(
        name=name,
        latent=Latent(dim=game.average.latent_dim, distribution=record.hyperparameters.latent),
        classes=record.data.classes,
        image=ImageShape(
            height=settings.resolution, width=settings.resolution, channels=record.data.channels
        ),
        training=Training(
            dataset=record.data.name,
            images_seen=game.progress.images_seen,
            architecture=f"{settings.architecture} {settings.preset}",
            loss=settings.loss_in_words,
            seed=settings.seed,
            source_commit=record.source_commit,
        ),
        license=license_,
        created=datetime.now(UTC).replace(microsecond=0),
    )
