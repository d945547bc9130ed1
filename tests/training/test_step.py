"""What a step of the game does to the weights, and with what."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from tests.training.games import CPU, playing, weights
from training.batches import batch_rows
from training.data import ImageData
from training.game import Game
from training.losses import Objective, discriminator_loss
from training.networks import to_signed
from training.run import RunRecord


def draws(seed: int, images_seen: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


class PlainGame:
    """The step as R3GAN, equations 2 and 3, has it, in plain torch, from the same first weights."""

    def __init__(self, game: Game) -> None:
        self.settings, self.seen = game.settings, 0
        self.generator, self.discriminator = copy.deepcopy((game.generator, game.discriminator))
        self.adams = [
            torch.optim.Adam(network.parameters(), betas=(0.0, 0.99))
            for network in (self.discriminator, self.generator)
        ]

    def step(self, data: ImageData) -> dict[str, torch.Tensor]:
        settings, batch = self.settings, self.settings.batch
        rows = batch_rows(settings.seed, self.seen, batch, len(data.images))
        pixels = data.images[rows].astype(np.float32).transpose(0, 3, 1, 2)
        real = torch.from_numpy(pixels / np.float32(127.5) - 1)
        label = torch.eye(len(data.classes))[torch.from_numpy(data.labels[rows])]
        random = draws(settings.seed, self.seen)
        latents = [torch.randn(batch, self.generator.latent_dim, generator=random) for _ in range(2)]

        images = torch.cat([real, self.generator(latents[0], label).detach()]).requires_grad_()
        logits = self.discriminator(images, torch.cat([label, label]))
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        squares = slope.pow(2).flatten(1).sum(1)
        r1, r2 = squares[:batch].mean(), squares[batch:].mean()
        judged = softplus(logits[batch:] - logits[:batch]).mean()
        self._descend(0, self.discriminator, judged + 0.3 * (r1 + r2) / 2)

        on_generated = self.discriminator(self.generator(latents[1], label), label)
        against = softplus(self.discriminator(real, label) - on_generated).mean()
        self._descend(1, self.generator, against)
        self.seen += batch
        return {"discriminator": judged, "generator": against, "r1": r1, "r2": r2}

    def _descend(self, which: int, network: torch.nn.Module, loss: torch.Tensor) -> None:
        weights = list(network.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        rise = min(1, (self.seen + self.settings.batch) / self.settings.warmup)
        self.adams[which].param_groups[0]["lr"] = 5e-4 * rise
        self.adams[which].step()


def test_steps_are_those_of_the_paper_in_plain_torch(
    record: RunRecord, digits_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(playing(record, gamma=0.3), CPU)
    # in float64: Adam divides by the gradient's size, and so would make steps of float32's rounding errors
    for network in (game.generator, game.discriminator, game.average):
        network.double().register_forward_pre_hook(lambda _, inputs: tuple(part.double() for part in inputs))
    monkeypatch.setattr("training.game.to_signed", lambda pixels: to_signed(pixels).double())
    plain = PlainGame(game)
    for _ in range(3):
        found, expected = game.step(digits_data), plain.step(digits_data)
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=1e-8), name
        for network, model in ((game.generator, plain.generator), (game.discriminator, plain.discriminator)):
            for (name, weight), other in zip(network.named_parameters(), model.parameters(), strict=True):
                # a step is about 5e-4
                assert torch.allclose(weight, other, rtol=0, atol=1e-8), name


def test_no_two_batches_share_their_latents(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)
    latents: list[torch.Tensor] = []
    game.generator.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[0]))
    for _ in range(2):
        game.step(digits_data)
    rows = torch.cat(latents)
    assert len(rows) == 2 * 2 * 8
    assert len(np.unique(rows.numpy(), axis=0)) == len(rows)


def test_the_learning_rate_rises_over_the_warmup(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)  # batches of 8, a warm-up of 16
    rates = []
    for _ in range(3):
        game.step(digits_data)
        rates.append(game.generator_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2.5e-4, 5e-4, 5e-4])


def assert_the_average_keeps(share: float, game: Game, data: ImageData) -> None:
    """That a step leaves this share of the average, and gives the rest to the generator."""
    before = game.average.dense.weight.clone()
    game.step(data)
    expected = before * share + game.generator.dense.weight * (1 - share)
    assert torch.allclose(game.average.dense.weight, expected, atol=1e-6)


def test_the_average_follows_its_half_life(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(playing(record, ema=2), CPU)
    game.progress.images_seen = 1_000
    # 8 images are four half-lives of 2
    assert_the_average_keeps(1 / 16, game, digits_data)


def test_early_on_the_half_life_is_a_twentieth_of_what_was_seen(
    record: RunRecord, digits_data: ImageData
) -> None:
    game = Game(record, CPU)
    game.progress.images_seen = 992
    torch.nn.init.zeros_(game.average.dense.weight)
    # 8 images at a half-life of 1000 / 20 = 50
    assert_the_average_keeps(2 ** (-8 / 50), game, digits_data)


def total_change(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    squares = [(a.float() - b.float()).square().sum() for a, b in zip(before, after, strict=True)]
    return torch.stack(squares).sum().sqrt().item()


@pytest.mark.parametrize("augment", [0, 0.5])
def test_microbatches_add_up_to_the_batch(record: RunRecord, digits_data: ImageData, augment: float) -> None:
    chosen = {"penalty": "r1+r2", "augment": augment, "mirror": True}
    whole, cut = (Game(playing(record, microbatch=size, **chosen), CPU) for size in (8, 2))
    start = weights(whole)
    for _ in range(3):
        losses, same_losses = whole.step(digits_data), cut.step(digits_data)
    for name, value in losses.items():
        assert same_losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    assert total_change(weights(whole), weights(cut)) < 1e-3 * total_change(start, weights(whole))


@pytest.mark.parametrize("architecture", ["r3gan", "dcgan"])
@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_bfloat16_takes_about_the_same_steps(
    record: RunRecord, digits_data: ImageData, architecture: str, normalization: str
) -> None:
    chosen = {"architecture": architecture, "normalization": normalization}
    full, half = (
        Game(playing(record, precision=precision, **chosen), CPU) for precision in ("float32", "bfloat16")
    )
    for _ in range(2):
        losses, rounded = full.step(digits_data), half.step(digits_data)
    for name, value in losses.items():
        assert rounded[name].dtype == torch.float32
        assert rounded[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.01), name
    assert any(rounded[name] != value for name, value in losses.items())
    assert all(weight.dtype != torch.bfloat16 for weight in weights(half))
    convolution = (
        next(layer for layer in half.generator.modules() if isinstance(layer, torch.nn.Conv2d))
        if (architecture == "r3gan")
        else next(layer for layer in half.generator.modules() if isinstance(layer, torch.nn.ConvTranspose2d))
    )
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_learning_rate_gamma_and_ema_follow_their_schedules(
    record: RunRecord, digits_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    gammas = []

    def spy(objective: Objective, *others: object) -> object:
        gammas.append(objective.gamma)
        return discriminator_loss(objective, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("training.game.discriminator_loss", spy)
    # over 16 images, two batches
    changing = {"learning_rate": "4e-4..2e-4", "gamma": "2..1", "ema": "8..4", "schedule": 16, "warmup": 0}
    game = Game(playing(record, **changing), CPU)
    rates = []
    for _ in range(3):
        game.step(digits_data)
        rates.append(game.generator_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([4e-4, 3e-4, 2e-4])
    assert gammas == pytest.approx([2, 1.5, 1])
    game.progress.images_seen = 1_000
    # 8 images are two half-lives of 4
    assert_the_average_keeps(1 / 4, game, digits_data)


def test_mirroring_shows_about_half_of_the_images_left_to_right(
    record: RunRecord, digits_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[torch.Tensor] = []

    def spy(objective: Objective, judge: object, real: torch.Tensor, *others: object) -> object:
        shown.append(real)
        return discriminator_loss(objective, judge, real, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("training.game.discriminator_loss", spy)
    Game(playing(record, mirror=True, batch=64), CPU).step(digits_data)
    pixels = digits_data.images[batch_rows(3, 0, 64, len(digits_data.images))]
    straight = to_signed(torch.from_numpy(pixels))
    mirrored = [torch.equal(image, other.flip(2)) for image, other in zip(shown[0], straight, strict=True)]
    kept = [torch.equal(image, other) for image, other in zip(shown[0], straight, strict=True)]
    assert all(one or other for one, other in zip(mirrored, kept, strict=True))
    assert 20 < sum(mirrored) < 44


def test_an_adaptive_game_augments_more_while_real_images_are_known_too_well(
    record: RunRecord, digits_data: ImageData
) -> None:
    game = Game(playing(record, loss="hinge", augment="adaptive"), CPU)
    game.discriminator.register_forward_hook(lambda _, _inputs, logits: logits + 100)  # all is judged real
    for _ in range(4):
        losses = game.step(digits_data)
    assert losses["augmentation"].item() == pytest.approx(4 * 8 / 500_000)
