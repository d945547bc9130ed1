"""Runs as a user starts them: as processes that are killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

IMAGES = 192
SNAPSHOT = 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def start(run: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-c", "from training.cli import app; app()", "train", "--run", str(run),
        "--images", str(IMAGES), "--snapshot", str(SNAPSHOT), "--cache", str(cache), *more,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def new(folder: Path, run: Path, cache: Path) -> subprocess.Popen[str]:
    return start(run, cache, str(folder), "--resolution", "16", "--batch", "8", "--warmup", "64")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    return {
        f"{part}.{name}": value
        for part in ("generator", "discriminator", "average")
        for name, value in state[part].items()
    }


def images_logged(run: Path) -> list[int]:
    log = run / "log.jsonl"
    return [json.loads(line)["images_seen"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture(scope="module")
def unbroken(digits_folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken")
    process = new(digits_folder, run, cache)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return run


def test_a_run_leaves_logs_samples_and_a_checkpoint(unbroken: Path) -> None:
    assert images_logged(unbroken) == list(range(SNAPSHOT, IMAGES + 1, SNAPSHOT))
    with Image.open(unbroken / "samples" / f"{IMAGES:09d}.png") as grid:
        assert grid.size == (160, 160)
    assert len(list((unbroken / "samples").iterdir())) == IMAGES // SNAPSHOT
    assert list((unbroken / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_resumes_bit_for_bit(
    number: signal.Signals, unbroken: Path, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    process = new(digits_folder, tmp_path, cache)
    deadline = time.monotonic() + 60
    while len(images_logged(tmp_path)) < 2 or not (tmp_path / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    before = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["images_seen"]
    assert 0 < before < IMAGES, "the run was over before the signal came"
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert f"stopped by {number.name}; continue with: ganserve train" in output
    resumed = start(tmp_path, cache, "--resume")
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
    expected, found = weights(unbroken), weights(tmp_path)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    logged = images_logged(tmp_path)
    assert logged == sorted(set(logged))
    assert logged[-1] == IMAGES


def test_a_finished_run_can_go_on(unbroken: Path, cache: Path) -> None:
    again = start(unbroken, cache, "--resume")
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0, output
    assert f"{IMAGES} images seen" in output
