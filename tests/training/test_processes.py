"""Two processes beside one: under torchrun as a user starts them, and as torchrun would start them."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import torch

from tests.training import runs
from tests.training.runs import Training, equal, finish, wait_for, weights

IMAGES = 64
# after "--", for torchrun would take --run for an option of its own
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "training")


@pytest.fixture(scope="module")
def options(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    cache = str(tmp_path_factory.mktemp("cache"))
    plan = ("--images", str(IMAGES), "--snapshot", "16", "--resolution", "16", "--batch", "8")
    return (str(digits_folder), *plan, "--cache", cache)


def again(options: tuple[str, ...]) -> tuple[str, ...]:
    return ("--resume", *options[-2:])


def both(folder: Path, *arguments: str) -> list[Training]:
    """Two processes that find each other as torchrun lets them, which would take longer to start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        Training(folder, *arguments, environment=common | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]


def torchrun(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, *TORCHRUN, "train", "--run", str(folder), *arguments]


def networks(run: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(run).items() if value.is_floating_point()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    squares = [(one[name] - other[name]).square().sum() for name in one]
    return torch.stack(squares).sum().sqrt().item()


GAMES = {
    "r3gan": ("--augment", "adaptive", "--loss", "hinge"),
    # batch normalisation sees a microbatch: four images, be it in one process or in two
    "dcgan": ("--architecture", "dcgan", "--microbatch", "4", "--augment", "0.5"),
}


@pytest.fixture(scope="module", params=GAMES)
def unbroken(
    request: pytest.FixtureRequest, options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[str, ...]]:
    """Runs "one" and "two", of as many processes, and what they were started with."""
    folder, game = tmp_path_factory.mktemp(request.param), (*options, *GAMES[request.param])
    for training in (Training(folder / "one", *game), *both(folder / "two", *game)):
        training.finish()
    return folder, game


def test_two_processes_make_the_weights_of_one(
    unbroken: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    folder, game = unbroken
    Training(tmp_path / "other", *game, "--seed", "1").finish()
    one, two, other = (networks(run) for run in (folder / "one", folder / "two", tmp_path / "other"))
    assert distance(one, two) < 1e-3 * distance(one, other)


def test_two_processes_that_lose_one_resume_bit_for_bit(
    unbroken: tuple[Path, tuple[str, ...]], options: tuple[str, ...], tmp_path: Path
) -> None:
    folder, game = unbroken
    run = tmp_path / "run"
    # it would never end by itself
    first, second = both(run, *game, "--images", "100000")
    second.stop(signal.SIGKILL)
    output = first.wait()
    assert first.process.exitcode == 1
    assert output.splitlines()[-1].startswith("ganserve: another process of this run is gone (")
    assert "Traceback" not in output
    for training in both(run, *again(options), "--images", str(IMAGES)):
        training.finish()
    assert equal(folder / "two", run)


@pytest.mark.parametrize("unbroken", ["dcgan"], indirect=True)
def test_torchrun_starts_them_and_ends_with_the_first_that_is_lost(
    unbroken: tuple[Path, tuple[str, ...]], options: tuple[str, ...], tmp_path: Path
) -> None:
    folder, game = unbroken
    run = tmp_path / "run"
    process = runs.start(torchrun(run, *game, "--images", "100000"))
    wait_for(run / "checkpoint.pt", lambda: process.poll() is None)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=runs.PATIENCE)
    assert process.returncode != 0
    output = finish(runs.start(torchrun(run, *again(options), "--images", str(IMAGES))))
    assert output.count(f"{IMAGES} images seen") == 1  # the first process speaks for both
    assert equal(folder / "two", run)


def test_two_processes_go_back_and_stop_together(options: tuple[str, ...], tmp_path: Path) -> None:
    # after one step the learning rate is so high that the weights break
    breaking = ("--learning-rate", "1e-4..1e30", "--schedule", "150", "--warmup", "0", "--snapshot", "8")
    trainings = both(tmp_path / "run", *options, *breaking, "--on-collapse", "restore")
    outputs = [training.wait() for training in trainings]
    assert [training.process.exitcode for training in trainings] == [1, 1]
    assert "".join(outputs).count("back to the best state") == 3  # the first process speaks for both
    lines = {output.splitlines()[-1] for output in outputs}
    assert len(lines) == 1
    assert "stopped at 40 images: the losses are no finite numbers" in lines.pop()


def test_a_batch_that_cannot_be_shared_is_refused(options: tuple[str, ...], tmp_path: Path) -> None:
    for training in both(tmp_path / "run", *options, "--microbatch", "8"):
        refusal = "2 processes cannot share batches of 8 images in microbatches of 8"
        assert refusal in training.wait()
        assert training.process.exitcode == 1
    assert not (tmp_path / "run" / "run.json").exists()
