"""Runs as a user starts and stops them."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training import runs
from tests.training.runs import Training, equal, finish
from training import processes
from training.data import ImageData
from training.game import Game
from training.held_out import split
from training.loop import run_game
from training.run import RunRecord, read

IMAGES = 96
SNAPSHOT = 16


@pytest.fixture(scope="module")
def options(digits_folder: Path, cache: Path) -> list[str]:
    plan = ["--images", str(IMAGES), "--snapshot", str(SNAPSHOT)]
    return [str(digits_folder), "--resolution", "16", "--batch", "8", *plan, "--cache", str(cache)]


def images_logged(run: Path) -> list[int]:
    return [json.loads(line)["images_seen"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken")
    output = finish(runs.start([sys.executable, "-m", "training", "train", "--run", str(run), *options]))
    assert f"{IMAGES} images seen; the run is in {run}" in output
    return run


def test_a_run_leaves_logs_samples_and_checkpoints(unbroken: Path) -> None:
    assert images_logged(unbroken) == list(range(SNAPSHOT, IMAGES + 1, SNAPSHOT))
    with Image.open(unbroken / "samples" / f"{IMAGES:09d}.png") as grid:
        assert grid.size == (160, 160)
    assert len(list((unbroken / "samples").iterdir())) == IMAGES // SNAPSHOT
    assert list((unbroken / "tensorboard").glob("events.*"))
    for name, images in (("checkpoint.pt", IMAGES), ("checkpoint.previous.pt", IMAGES - SNAPSHOT)):
        state = torch.load(unbroken / name, weights_only=True)
        assert state["progress"]["images_seen"] == images
    with Image.open(unbroken / "curves.png") as curves:
        assert curves.size == (1100, 700)


def test_a_run_is_measured_at_each_snapshot_and_keeps_its_best(unbroken: Path) -> None:
    log = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()]
    least = min(log, key=lambda entry: entry["distance"])
    assert all(0 <= entry[name] <= 1 for entry in log for name in ("recall", "accuracy", "accuracy_on_seen"))
    kept = torch.load(unbroken / "best.pt", weights_only=True)["progress"]
    assert kept["images_seen"] == least["images_seen"]
    assert kept["measured"][-1]["distance"] == least["distance"]


def test_a_seed_reproduces_a_run_bit_for_bit(unbroken: Path, options: list[str], tmp_path: Path) -> None:
    Training(tmp_path / "run", *options).finish()
    assert equal(unbroken, tmp_path / "run")


@pytest.mark.parametrize(
    ("number", "saved"), [(signal.SIGKILL, 2 * SNAPSHOT), (signal.SIGTERM, 40), (signal.SIGINT, 40)]
)
def test_a_run_that_is_stopped_resumes_bit_for_bit(
    number: signal.Signals, saved: int, unbroken: Path, options: list[str], cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = Training(run, *options, signalled=(40, number))
    output = training.wait()
    if number is signal.SIGKILL:
        assert training.process.exitcode == -number
    else:
        assert training.process.exitcode == 128 + number
        assert f"stopped by {number.name}; continue with: ganserve train" in output
        assert "train --run" in output
    assert torch.load(run / "checkpoint.pt", weights_only=True)["progress"]["images_seen"] == saved
    Training(run, "--resume", "--cache", cache).finish()
    assert equal(unbroken, run)
    logged = images_logged(run)
    assert logged == sorted(set(logged))
    assert logged[-1] == IMAGES


def test_what_is_saved_draws_with_statistics_of_its_own(
    options: list[str], digits_data: ImageData, tmp_path: Path
) -> None:
    """Of a generator with batch normalisation, in the middle between two snapshots as well."""
    run = tmp_path / "run"
    Training(run, *options, "--architecture", "dcgan", signalled=(40, signal.SIGTERM)).wait()
    record = read(run)
    learned = split(digits_data, record.data.held_out, record.hyperparameters.seed).learned
    for name, seen in (("checkpoint.pt", {40}), ("best.pt", {16, 32})):
        game = Game(record, torch.device("cpu"))
        game.load(run, name)
        assert game.progress.images_seen in seen
        saved = {key: value.clone() for key, value in game.average.state_dict().items() if "running" in key}
        game.settle(learned)
        settled = game.average.state_dict()
        assert saved
        assert all(value.any() and torch.equal(value, settled[key]) for key, value in saved.items())


def test_images_that_have_moved_are_named_again_in_what_continues_the_run(
    unbroken: Path, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    run, moved = shutil.copytree(unbroken, tmp_path / "run"), tmp_path / "moved"
    shutil.copytree(digits_folder, moved)
    resumed = (moved, "--resume", "--images", IMAGES + 80, "--cache", cache)
    output = Training(run, *resumed, signalled=(IMAGES + 8, signal.SIGTERM)).wait()
    assert f"continue with: ganserve train {moved} --run {run} --resume" in output


def test_a_finished_run_can_go_on(unbroken: Path, cache: Path) -> None:
    assert f"{IMAGES} images seen" in Training(unbroken, "--resume", "--cache", cache).finish()


def test_a_signal_counts_when_all_processes_know_of_it(
    record: RunRecord, digits_data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes while they ask each other ends the run a step later, in all of them."""
    total, sums = processes.total, []

    def interrupted(number: float) -> float:
        sums.append(total(number))
        if len(sums) == 2:  # the first says that all go on from the same image
            signal.raise_signal(signal.SIGTERM)
        return sums[-1]

    monkeypatch.setattr(processes, "total", interrupted)
    game = Game(record, torch.device("cpu"))
    assert run_game(game, digits_data, tmp_path, record) == signal.SIGTERM
    assert game.progress.images_seen == record.hyperparameters.batch
    assert sums == [0, 0, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_classifier_is_fitted_ends_it_at_once(
    number: signal.Signals,
    record: RunRecord,
    digits_data: ImageData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nothing to save yet, and fitting takes minutes where images are large."""

    class Ended(BaseException): ...

    def end(*_: object) -> None:
        raise Ended

    before = signal.signal(number, end)
    monkeypatch.setattr("training.session.fitted", lambda *_: signal.raise_signal(number))
    try:
        with pytest.raises(Ended):
            run_game(Game(record, torch.device("cpu")), digits_data, tmp_path, record)
    finally:
        signal.signal(number, before)
