from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data import ImageData
from training.game import Game, batch_rows
from training.run import RunRecord

CPU = torch.device("cpu")


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 60), st.integers(1, 5), st.integers(0, 9))
def test_an_epoch_shows_every_image_once(seed: int, batch: int, size: int, epochs: int, skip: int) -> None:
    # read batch by batch from the start of an epoch, each stretch of `size` rows is a permutation
    start = skip * size
    steps = -(-epochs * size // batch)
    rows = np.concatenate([batch_rows(seed, start + step * batch, batch, size) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [batch_rows(seed, epoch * 100, 100, 100).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def weights(game: Game) -> list[torch.Tensor]:
    networks = (game.generator, game.discriminator, game.average)
    return [value.clone() for network in networks for value in network.state_dict().values()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_seed_reproduces_the_weights_bit_for_bit(record: RunRecord, digits_data: ImageData) -> None:
    games = [Game(record, CPU) for _ in range(2)]
    for _ in range(3):
        for game in games:
            torch.manual_seed(id(game))  # the global generator has no say
            game.step(digits_data)
    assert same(weights(games[0]), weights(games[1]))


def test_another_seed_is_another_game(record: RunRecord) -> None:
    settings = record.hyperparameters.model_copy(update={"seed": 4})
    other = record.model_copy(update={"hyperparameters": settings})
    assert not same(weights(Game(record, CPU)), weights(Game(other, CPU)))


def test_a_step_moves_both_networks_and_counts_images(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)
    before = [weights.clone() for weights in (game.generator.dense.weight, game.discriminator.dense.weight)]
    losses = game.step(digits_data)
    assert game.progress.images_seen == record.hyperparameters.batch
    assert not torch.equal(game.generator.dense.weight, before[0])
    assert not torch.equal(game.discriminator.dense.weight, before[1])
    assert set(losses) == {"discriminator", "generator", "r1", "r2"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_learning_rate_rises_over_the_warmup(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)  # batches of 8, a warm-up of 16
    rates = []
    for _ in range(3):
        game.step(digits_data)
        rates.append(game.generator_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2.5e-4, 5e-4, 5e-4])


def test_the_average_follows_its_half_life(record: RunRecord, digits_data: ImageData) -> None:
    settings = record.hyperparameters.model_copy(update={"ema": 2})
    game = Game(record.model_copy(update={"hyperparameters": settings}), CPU)
    game.progress.images_seen = 1_000
    before = game.average.dense.weight.clone()
    game.step(digits_data)
    # 8 images are four half-lives of 2
    expected = before / 16 + game.generator.dense.weight * 15 / 16
    assert torch.allclose(game.average.dense.weight, expected, atol=1e-6)


def test_samples_are_rows_of_classes(record: RunRecord) -> None:
    game = Game(record, CPU)
    assert game.samples().shape == (100, 16, 16, 1)
    assert (game.samples() == game.samples()).all()


def test_an_unconditional_game(record: RunRecord, digits_data: ImageData) -> None:
    data = replace(digits_data, classes=())
    bare = record.model_copy(update={"data": record.data.model_copy(update={"classes": ()})})
    game = Game(bare, CPU)
    game.step(data)
    assert game.samples().shape == (100, 16, 16, 1)
