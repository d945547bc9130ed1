"""Every architecture under every loss: games that move, resume exactly and export."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.shelf import Generator, Shelf
from training import run
from training.data import ImageData
from training.export import export_run
from training.game import Game
from training.hyperparameters import DEFAULTS, Hyperparameters
from training.losses import LOSSES
from training.run import RunRecord

CPU = torch.device("cpu")
GAMES = [
    *({"architecture": architecture, "loss": loss} for architecture in DEFAULTS for loss in LOSSES),
    {"architecture": "r3gan", "loss": "hinge", "penalty": "none", "normalization": "spectral"},
    {"architecture": "dcgan", "loss": "wasserstein", "penalty": "none", "normalization": "spectral"},
    {"architecture": "dcgan", "loss": "least-squares", "penalty": "r1+r2", "latent": "normal"},
]


def playing(record: RunRecord, **chosen: object) -> RunRecord:
    """The record of another game on the same images."""
    settings = {"resolution": 16, "batch": 8, "seed": 3} | chosen
    return record.model_copy(update={"hyperparameters": Hyperparameters.model_validate(settings)})


def state(game: Game) -> dict[str, torch.Tensor]:
    networks = {"generator": game.generator, "discriminator": game.discriminator, "average": game.average}
    return {
        f"{part}.{name}": value.clone()
        for part, network in networks.items()
        for name, value in network.state_dict().items()
    }


@pytest.mark.parametrize("chosen", GAMES, ids=lambda chosen: "-".join(chosen.values()))
def test_a_game_moves_both_networks_and_resumes_bit_for_bit(
    chosen: dict[str, str], record: RunRecord, digits_data: ImageData, tmp_path: Path
) -> None:
    other = playing(record, **chosen)
    unbroken = Game(other, CPU)
    first = state(unbroken)
    for _ in range(2):
        losses = unbroken.step(digits_data)
    assert all(torch.isfinite(value) for value in losses.values())
    unbroken.settle(digits_data)
    unbroken.save(tmp_path)
    resumed = Game(other, CPU)
    resumed.load(tmp_path)
    for number, game in enumerate((unbroken, resumed)):
        torch.manual_seed(number)  # the global generator has no say
        game.step(digits_data)
        game.settle(digits_data)
    expected, found = state(unbroken), state(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    moved = {name.partition(".")[0] for name in first if not torch.equal(first[name], expected[name])}
    assert moved == {"generator", "discriminator", "average"}


def exported(game: Game, record: RunRecord, data: ImageData, folder: Path) -> Generator:
    """The generator on a shelf, drawing what the game's average draws."""
    game.settle(data)
    run.write(folder, record)
    game.save(folder)
    shelved, parities, *_ = export_run(folder, "exported", "mit", Shelf(folder / "models"))
    assert all(parity.holds for parity in parities)
    return shelved


@pytest.mark.parametrize(
    ("latent", "classes", "channels"),  # every pair of values is there
    [
        ("normal", (), 1),
        ("normal", ("a", "b", "c"), 3),
        ("uniform", (), 3),
        ("uniform", ("a", "b", "c"), 1),
    ],
)
def test_dcgan_exports_what_it_showed(
    channels: int, classes: tuple[str, ...], latent: str, record: RunRecord, tmp_path: Path
) -> None:
    draws = np.random.default_rng(0)
    data = ImageData(
        name="noise",
        fingerprint="",
        images=draws.integers(0, 256, (40, 16, 16, channels), np.uint8),
        labels=draws.integers(0, max(1, len(classes)), 40),
        classes=classes,
        unreadable=(),
    )
    other = playing(record, architecture="dcgan", latent=latent).model_copy(
        update={"data": record.data.model_copy(update={"channels": channels, "classes": classes})}
    )
    game = Game(other, CPU)
    for _ in range(5):
        game.step(data)
    shelved = exported(game, other, data, tmp_path)
    assert shelved.contract.latent.model_dump() == {"dim": 100, "distribution": latent}
    assert shelved.contract.training.architecture == "dcgan tiny"
    assert shelved.contract.training.loss == "non-saturating, batch normalization of the discriminator"


def test_the_average_draws_alone_what_a_batch_of_the_generator_shows(
    record: RunRecord, digits_data: ImageData
) -> None:
    """Without statistics of its own, batch normalisation would draw with those of a new network."""
    game = Game(playing(record, architecture="dcgan", batch=64, ema=1), CPU)
    for _ in range(12):
        game.step(digits_data)
    unsettled = game.samples().astype(int)
    game.settle(digits_data)
    settled = game.samples().astype(int)
    latent = torch.rand(100, 100, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        # the half-life is so short that the average is the generator
        shown = game.generator(latent, torch.eye(10).repeat_interleave(10, dim=0))
    drawn = ((shown + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(settled - drawn).mean() < 0.2 * np.abs(unsettled - drawn).mean()


@pytest.mark.parametrize("architecture", DEFAULTS)
def test_what_was_trained_in_bfloat16_exports_in_float32(
    architecture: str, record: RunRecord, digits_data: ImageData, tmp_path: Path
) -> None:
    other = playing(record, architecture=architecture, precision="bfloat16")
    game = Game(other, CPU)
    game.step(digits_data)
    exported(game, other, digits_data, tmp_path)
