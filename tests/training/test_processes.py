"""Two processes under torchrun, as a user starts them, beside one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training import runs
from tests.training.runs import finish, weights

IMAGES = 192
PLAIN = (sys.executable, "-m", "training")
# after "--", for torchrun would take --run for an option of its own
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TWO = (*TORCHRUN, "-m", "--", "training")


def start(command: tuple[str, ...], run: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    plan = ("--images", str(IMAGES), "--snapshot", "32")
    return runs.start([*command, "train", "--run", str(run), "--cache", str(cache), *plan, *more])


def networks(run: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(run).items() if value.is_floating_point()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    squares = [(one[name] - other[name]).square().sum() for name in one]
    return torch.stack(squares).sum().sqrt().item()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


OPTIONS = {
    "r3gan": ("--resolution", "16", "--batch", "8", "--augment", "adaptive", "--loss", "hinge"),
    # batch normalisation sees a microbatch: four images, be it in one process or in two
    "dcgan": ("--architecture", "dcgan", "--resolution", "16", "--batch", "8", "--microbatch", "4"),
}


@pytest.mark.parametrize("architecture", OPTIONS)
def test_two_processes_make_the_weights_of_one(
    architecture: str, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    options = (str(digits_folder), *OPTIONS[architecture])
    runs = {"one": PLAIN, "two": TWO}
    for name, command in runs.items():
        output = finish(start(command, tmp_path / name, cache, *options))
        assert output.count(f"{IMAGES} images seen") == 1  # the first process speaks for both
    finish(start(PLAIN, tmp_path / "other", cache, *options, "--seed", "1"))
    one, two, other = (networks(tmp_path / name) for name in ("one", "two", "other"))
    assert distance(one, two) < 1e-3 * distance(one, other)


def test_two_processes_that_lose_one_resume_bit_for_bit(
    digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    options = (str(digits_folder), *OPTIONS["dcgan"], "--augment", "0.5")
    finish(start(TWO, tmp_path / "unbroken", cache, *options))
    broken = tmp_path / "broken"
    process = start(TWO, broken, cache, *options)
    deadline = time.monotonic() + 300
    while not (broken / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0
    seen = torch.load(broken / "checkpoint.pt", weights_only=True)["progress"]["images_seen"]
    assert 0 < seen < IMAGES, "the run was over before the kill"
    finish(start(TWO, broken, cache, "--resume"))
    expected, found = networks(tmp_path / "unbroken"), networks(broken)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_batch_that_cannot_be_shared_is_refused(digits_folder: Path, cache: Path, tmp_path: Path) -> None:
    options = ("--resolution", "16", "--batch", "8", "--microbatch", "8")
    process = start(TWO, tmp_path / "run", cache, str(digits_folder), *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "2 processes cannot share batches of 8 images in microbatches of 8" in " ".join(output.split())
    assert not (tmp_path / "run" / "run.json").exists()
