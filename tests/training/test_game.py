from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.games import CPU, playing, same, weights
from training.data import ImageData
from training.game import Game
from training.networks import to_pixels, to_signed
from training.run import RunRecord


def test_a_seed_reproduces_the_weights_bit_for_bit(record: RunRecord, digits_data: ImageData) -> None:
    games = [Game(record, CPU) for _ in range(2)]
    for _ in range(3):
        for number, game in enumerate(games):
            torch.manual_seed(number)  # the global generator has no say
            game.step(digits_data)
    assert same(weights(games[0]), weights(games[1]))


def test_another_seed_is_another_game(record: RunRecord) -> None:
    assert not same(weights(Game(record, CPU)), weights(Game(playing(record, seed=4), CPU)))


def test_a_step_moves_both_networks_and_counts_images(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)
    before = [weights.clone() for weights in (game.generator.dense.weight, game.discriminator.dense.weight)]
    losses = game.step(digits_data)
    assert game.progress.images_seen == record.hyperparameters.batch
    assert not torch.equal(game.generator.dense.weight, before[0])
    assert not torch.equal(game.discriminator.dense.weight, before[1])
    assert set(losses) == {"discriminator", "generator", "r1", "r2"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_samples_are_drawn_by_the_average(record: RunRecord) -> None:
    game = Game(record, CPU)
    for network, level in ((game.generator, -0.5), (game.average, 0.5)):
        torch.nn.init.zeros_(network.to_image.weight)
        assert network.to_image.bias is not None
        torch.nn.init.constant_(network.to_image.bias, level)
    assert (game.samples() == 191).all()  # 1.5 * 127.5 = 191.25


def test_a_row_of_samples_is_of_one_class(record: RunRecord) -> None:
    game = Game(record, CPU)
    # deaf to the latent, the average draws what the label says alone
    torch.nn.init.zeros_(game.average.dense.weight[:, : game.average.latent_dim])
    with torch.no_grad():
        of_class = to_pixels(game.average(torch.zeros(10, game.average.latent_dim), torch.eye(10))).numpy()
    rows = game.samples().reshape(10, 10, 16, 16, 1).astype(int)
    assert (abs(rows - of_class[:, None]) <= 1).all()
    assert len(np.unique(of_class, axis=0)) == 10


def test_samples_are_rows_of_classes(record: RunRecord) -> None:
    game = Game(record, CPU)
    assert game.samples().shape == (100, 16, 16, 1)
    assert (game.samples() == game.samples()).all()


def test_pictures_do_not_depend_on_how_many_are_drawn_at_once(record: RunRecord) -> None:
    labels = np.arange(19) % 10
    at_once = [Game(playing(record, microbatch=size), CPU).pictures(labels).astype(int) for size in (2, 8)]
    assert np.abs(at_once[0] - at_once[1]).max() <= 1
    assert at_once[0].shape == (19, 16, 16, 1)


def test_logits_are_those_of_the_discriminator(record: RunRecord, digits_data: ImageData) -> None:
    game = Game(record, CPU)
    torch.nn.init.normal_(game.discriminator.dense.weight)
    images, labels = digits_data.images[:19], digits_data.labels[:19]
    with torch.no_grad():
        expected = game.discriminator(to_signed(torch.tensor(images)), torch.eye(10)[torch.tensor(labels)])
    assert np.allclose(game.logits(images, labels), expected.numpy(), atol=1e-4)
    assert game.logits(images, labels).std() > 0


def test_going_back_takes_all_state_but_the_count_and_halves_the_learning_rate(
    record: RunRecord, digits_data: ImageData, tmp_path: Path
) -> None:
    game = Game(record, CPU)
    for _ in range(3):
        game.step(digits_data)
    game.save(tmp_path, "best.pt")
    kept = weights(game)
    rate = game.generator_optimizer.param_groups[0]["lr"]
    game.step(digits_data)
    game.return_to(tmp_path, "best.pt")
    assert same(weights(game), kept)
    assert game.progress.images_seen == 32
    game.step(digits_data)
    assert game.generator_optimizer.param_groups[0]["lr"] == pytest.approx(rate / 2)


def test_going_back_from_a_damaged_best_state_takes_the_one_before_and_says_so(
    record: RunRecord, digits_data: ImageData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    game = Game(record, CPU)
    game.step(digits_data)
    game.save(tmp_path, "best.pt")
    kept = weights(game)
    game.step(digits_data)
    game.save(tmp_path, "best.pt")
    (tmp_path / "best.pt").write_bytes(b"half of it")
    game.return_to(tmp_path, "best.pt")
    assert same(weights(game), kept)
    assert capsys.readouterr().err == (
        f"ganserve: the checkpoint {tmp_path / 'best.pt'} is damaged (it does not match its digest); "
        "went back to best.previous.pt\n"
    )


@pytest.mark.parametrize("network", ["generator", "discriminator", "average"])
def test_weights_that_are_no_numbers_are_seen(network: str, record: RunRecord) -> None:
    game = Game(record, CPU)
    assert game.finite()
    next(getattr(game, network).parameters()).data.view(-1)[0] = torch.inf
    assert not game.finite()


def test_an_unconditional_game(record: RunRecord, digits_data: ImageData) -> None:
    data = replace(digits_data, classes=())
    bare = record.model_copy(update={"data": record.data.model_copy(update={"classes": ()})})
    game = Game(bare, CPU)
    game.step(data)
    assert game.samples().shape == (100, 16, 16, 1)
