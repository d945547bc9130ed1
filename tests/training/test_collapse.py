"""Runs that go wrong, and runs that have had enough, as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from tests.training.command import ganserve
from tests.training.runs import decisions, weights
from training.game import Game
from training.held_out import Part
from training.run import read

# after one step the learning rate is so high that the weights break
BREAKING = ("--learning-rate", "1e-4..1e30", "--schedule", 150, "--warmup", 0)


def train(run: Path, cache: Path, *options: object, images: int = 64) -> Result:
    plan = ["--images", images, "--snapshot", 8, "--cache", cache]
    return ganserve("train", "--run", run, *plan, *options)


def begin(digits_folder: Path, run: Path, cache: Path, *options: object, images: int = 64) -> Result:
    return train(run, cache, digits_folder, "--resolution", 16, "--batch", 8, *options, images=images)


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def collapsed(digits_folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    run = tmp_path_factory.mktemp("collapsed")
    result = begin(digits_folder, run, cache, *BREAKING)
    assert result.exit_code == 1, result.output
    return run, " ".join(result.output.split())


def test_a_collapse_ends_the_run_in_a_line_that_says_what_is_kept(collapsed: tuple[Path, str]) -> None:
    run, output = collapsed
    least = min(log(run), key=lambda entry: entry["distance"])
    assert "ganserve: stopped at " in output
    assert f"best.pt keeps the best, of {least['images_seen']:,} images (distance" in output
    assert "--resume --on-collapse restore" in output
    assert "Traceback" not in output


def test_the_best_is_exported_after_a_collapse(collapsed: tuple[Path, str], tmp_path: Path) -> None:
    run, _ = collapsed
    result = ganserve("export", "--run", run, "--name", "digits", "--models", tmp_path)
    assert result.exit_code == 0, result.output
    least = min(log(run), key=lambda entry: entry["distance"])
    said = f"exported the state after {least['images_seen']:,} images, the best of the run (distance "
    assert said in " ".join(result.output.split())


def test_a_run_goes_back_to_its_best_three_times_at_lower_learning_rates(
    digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    result = begin(digits_folder, tmp_path, cache, *BREAKING, "--on-collapse", "restore")
    assert result.exit_code == 1, result.output  # an eighth of such a learning rate is no better
    returns = [entry for entry in log(tmp_path) if "returned_to" in entry]
    assert [(entry["returned_to"], entry["learning_rate_share"]) for entry in returns] == [
        (8, 0.5), (8, 0.25), (8, 0.125),
    ]  # fmt: skip
    assert result.output.count("back to the best state, of 8 images") == 3
    assert "--on-collapse restore" not in result.output  # it would not go back again
    assert "a lower --learning-rate or a higher --gamma" in result.output


def test_a_run_without_a_penalty_is_advised_to_take_one(
    digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    result = begin(digits_folder, tmp_path, cache, *BREAKING, "--penalty", "none")
    assert result.exit_code == 1, result.output
    assert "with a lower --learning-rate or a --penalty, such as r1+r2" in result.output


def test_going_back_resumes_bit_for_bit(
    digits_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Game.step

    def breaks_once(game: Game, data: Part) -> dict[str, torch.Tensor]:
        losses = step(game, data)
        if game.progress.images_seen == 24 and not game.progress.returns:
            torch.nn.init.constant_(next(game.generator.parameters()), torch.nan)
        return losses

    monkeypatch.setattr(Game, "step", breaks_once)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--on-collapse", "restore", "--patience", 0)
    assert begin(digits_folder, whole, cache, *options).exit_code == 0
    begin(digits_folder, parts, cache, *options, images=16)
    train(parts, cache, "--resume", images=24)
    assert (decisions(parts)["returns"], decisions(parts)["images_seen"]) == (1, 24)
    train(parts, cache, "--resume", images=40)
    train(parts, cache, "--resume")
    expected, found = weights(whole), weights(parts)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert decisions(parts) == decisions(whole)
    assert decisions(whole)["images_seen"] == 64


def test_a_run_whose_best_state_was_removed_keeps_the_next_best(
    digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    begin(digits_folder, tmp_path, cache, "--patience", 0, images=24)
    for name in ("best.pt", "best.previous.pt"):
        (tmp_path / name).unlink(missing_ok=True)
    result = train(tmp_path, cache, "--resume", images=32)
    assert "best.pt is gone: what is measured next counts as the best again" in result.output
    assert [one["images_seen"] for one in decisions(tmp_path)["measured"]] == [32]
    assert torch.load(tmp_path / "best.pt", weights_only=True)["progress"]["images_seen"] == 32


def test_a_run_that_stands_still_has_had_enough_and_stays_so(
    digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    still = ("--learning-rate", 1e-12, "--patience", 16)
    result = begin(digits_folder, tmp_path, cache, *still)
    # that this generator never learned is said as well
    assert "no better distance for 16 images" in " ".join(result.output.split())
    assert decisions(tmp_path)["images_seen"] == 24
    again = train(tmp_path, cache, "--resume")
    assert "stopped at 24 images" in " ".join(again.output.split())
    longer = train(tmp_path, cache, "--resume", "--patience", 24)
    assert "no better distance for 24 images" in " ".join(longer.output.split())
    assert read(tmp_path).patience == 24


def test_a_run_that_stands_still_has_its_whole_patience_after_each_return(
    digits_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.stopping.NOTHING", 2)  # any recall is none
    still = ("--learning-rate", 1e-12, "--patience", 16, "--on-collapse", "restore")
    result = begin(digits_folder, tmp_path, cache, *still, images=40)
    again = train(tmp_path, cache, "--resume", images=80)
    assert (result.exit_code, again.exit_code) == (0, 1), again.output
    returns = [entry["images_seen"] for entry in log(tmp_path) if "returned_to" in entry]
    assert returns == [24, 40, 56]
    assert decisions(tmp_path)["images_seen"] == 72
