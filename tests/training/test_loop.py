"""Runs as a user starts them: as processes that are killed and resumed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training import runs
from tests.training.runs import finish, weights

IMAGES = 192
SNAPSHOT = 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def start(run: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    return runs.start(
        [sys.executable, "-m", "training", "train", "--run", str(run), "--cache", str(cache), *more]
    )


def new(folder: Path, run: Path, cache: Path, *game: str) -> subprocess.Popen[str]:
    plan = ("--images", str(IMAGES), "--snapshot", str(SNAPSHOT))
    return start(run, cache, str(folder), "--resolution", "16", "--batch", "8", *plan, *game)


def images_logged(run: Path) -> list[int]:
    log = run / "log.jsonl"
    return [json.loads(line)["images_seen"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture(scope="module")
def unbroken(digits_folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken")
    process = new(digits_folder, run, cache)
    finish(process)
    return run


def test_a_run_leaves_logs_samples_and_a_checkpoint(unbroken: Path) -> None:
    assert images_logged(unbroken) == list(range(SNAPSHOT, IMAGES + 1, SNAPSHOT))
    with Image.open(unbroken / "samples" / f"{IMAGES:09d}.png") as grid:
        assert grid.size == (160, 160)
    assert len(list((unbroken / "samples").iterdir())) == IMAGES // SNAPSHOT
    assert list((unbroken / "tensorboard").glob("events.*"))


def stop(process: subprocess.Popen[str], run: Path, number: signal.Signals) -> str:
    deadline = time.monotonic() + 300
    while len(images_logged(run)) < 2 or not (run / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    before = torch.load(run / "checkpoint.pt", weights_only=True)["progress"]["images_seen"]
    assert 0 < before < IMAGES, "the run was over before the signal came"
    return output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_resumes_bit_for_bit(
    number: signal.Signals, unbroken: Path, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    process = new(digits_folder, tmp_path, cache)
    output = stop(process, tmp_path, number)
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert f"stopped by {number.name}; continue with: ganserve train" in output
    resumed = start(tmp_path, cache, "--resume")
    finish(resumed)
    expected, found = weights(unbroken), weights(tmp_path)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    logged = images_logged(tmp_path)
    assert logged == sorted(set(logged))
    assert logged[-1] == IMAGES


GAMES = {
    "dcgan": ["--architecture", "dcgan", "--augment", "adaptive", "--microbatch", "4", "--mirror"],
    "spectral": ["--loss", "hinge", "--penalty", "none", "--normalization", "spectral", "--augment", "0.5"],
    "schedules": ["--loss", "wasserstein", "--precision", "bfloat16", "--learning-rate", "1e-3..1e-4",
                  "--gamma", "10..1", "--ema", "100..50", "--schedule", "150"],
}  # fmt: skip


@pytest.mark.parametrize("game", GAMES)
def test_every_kind_of_game_resumes_bit_for_bit(
    game: str, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    unbroken = new(digits_folder, tmp_path / "unbroken", cache, *GAMES[game])
    finish(unbroken)
    broken = tmp_path / "broken"
    stop(new(digits_folder, broken, cache, *GAMES[game]), broken, signal.SIGKILL)
    resumed = start(broken, cache, "--resume")
    finish(resumed)
    expected, found = weights(tmp_path / "unbroken"), weights(broken)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_finished_run_can_go_on(unbroken: Path, cache: Path) -> None:
    again = start(unbroken, cache, "--resume")
    output = finish(again)
    assert f"{IMAGES} images seen" in output
