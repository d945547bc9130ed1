"""Two processes beside one: under torchrun as a user starts them, and as torchrun would start them."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but not in __all__

from tests.training import runs
from tests.training.runs import Training, decisions, equal, finish, weights
from training.lock import alone

Both = Callable[..., list[Training]]

IMAGES = 64
# after "--", for torchrun would take --run for an option of its own
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")


@pytest.fixture(scope="module")
def options(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    cache = str(tmp_path_factory.mktemp("cache"))
    plan = ("--images", str(IMAGES), "--snapshot", "16", "--resolution", "16", "--batch", "8")
    return (str(digits_folder), *plan, "--cache", cache)


def again(options: tuple[str, ...]) -> tuple[str, ...]:
    return ("--resume", *options[-2:])


@pytest.fixture(scope="module")
def both() -> Both:
    """Starts two processes as torchrun does, which would take longer.

    They meet at a store that this process holds open meanwhile, on a port that the system has chosen.
    """
    stores = []

    def begin(
        folder: Path, *arguments: str, signalled: tuple[int, signal.Signals] | None = None
    ) -> list[Training]:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        stores.append(store)
        common = {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        return [
            Training(
                folder, *arguments, environment=common | {"RANK": rank, "LOCAL_RANK": rank}, signalled=itself
            )
            for rank, itself in (("0", None), ("1", signalled))
        ]

    return begin


def torchrun(module: str, folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, *TORCHRUN, module, "train", "--run", str(folder), *arguments]


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
    request: pytest.FixtureRequest,
    options: tuple[str, ...],
    both: Both,
    tmp_path_factory: pytest.TempPathFactory,
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
    unbroken: tuple[Path, tuple[str, ...]], options: tuple[str, ...], both: Both, tmp_path: Path
) -> None:
    folder, game = unbroken
    run = tmp_path / "run"
    first, second = both(run, *game, signalled=(40, signal.SIGKILL))
    second.wait()
    assert second.process.exitcode == -signal.SIGKILL
    output = first.wait()
    assert first.process.exitcode == 1
    assert output.splitlines()[-1].startswith("ganserve: another process of this run has ended (")
    assert "Traceback" not in output
    for training in both(run, *again(options)):
        training.finish()
    assert equal(folder / "two", run)


@pytest.mark.parametrize("unbroken", ["dcgan"], indirect=True)
def test_two_processes_stop_when_one_is_told_to(
    unbroken: tuple[Path, tuple[str, ...]], options: tuple[str, ...], both: Both, tmp_path: Path
) -> None:
    folder, game = unbroken
    run = tmp_path / "run"
    trainings = both(run, *game, signalled=(40, signal.SIGTERM))
    outputs = [training.wait() for training in trainings]
    assert [training.process.exitcode for training in trainings] == [128 + signal.SIGTERM] * 2
    assert "stopped by SIGTERM; continue with: ganserve train" in outputs[0]
    assert decisions(run)["images_seen"] == 40
    for training in both(run, *again(options)):
        training.finish()
    assert equal(folder / "two", run)


@pytest.mark.parametrize("unbroken", ["dcgan"], indirect=True)
def test_torchrun_starts_them_and_ends_with_the_first_that_is_lost(
    unbroken: tuple[Path, tuple[str, ...]], options: tuple[str, ...], tmp_path: Path
) -> None:
    folder, game = unbroken
    run = tmp_path / "run"
    process = runs.start(torchrun("tests.training.lost", run, *game))
    process.communicate(timeout=runs.PATIENCE)
    assert process.returncode != 0
    output = finish(runs.start(torchrun("training", run, *again(options))))
    assert output.count(f"{IMAGES} images seen") == 1  # the first process speaks for both
    assert equal(folder / "two", run)


def test_two_processes_find_the_same_mistake(both: Both, options: tuple[str, ...], tmp_path: Path) -> None:
    """One that is refused does not leave the other to wonder where it is."""
    (tmp_path / "photos").mkdir()
    for training in both(tmp_path / "run", str(tmp_path / "photos"), *options[1:]):
        assert training.wait() == f"ganserve: {tmp_path / 'photos'} holds no images that can be read\n"
        assert training.process.exitcode == 1
    with alone(tmp_path / "taken"):
        for training in both(tmp_path / "taken", *options):
            assert f"ganserve: another process trains in {tmp_path / 'taken'}" in training.wait()


def test_a_mistake_ends_torchrun_with_its_line(options: tuple[str, ...], tmp_path: Path) -> None:
    process = runs.start(torchrun("training", tmp_path / "run", *options, "--batch", "9"))
    output, _ = process.communicate(timeout=runs.PATIENCE)
    assert process.returncode == 1
    assert "ganserve: 2 processes cannot share a batch of 9 images; choose a --batch that is a mult" in output


def test_two_processes_go_back_and_stop_together(
    options: tuple[str, ...], both: Both, tmp_path: Path
) -> None:
    # after one step the learning rate is so high that the weights break
    breaking = ("--learning-rate", "1e-4..1e30", "--schedule", "150", "--warmup", "0", "--snapshot", "8")
    trainings = both(tmp_path / "run", *options, *breaking, "--on-collapse", "restore")
    outputs = [training.wait() for training in trainings]
    assert [training.process.exitcode for training in trainings] == [1, 1]
    assert "".join(outputs).count("back to the best state") == 3  # the first process speaks for both
    lines = {output.splitlines()[-1] for output in outputs}
    assert len(lines) == 1
    assert "stopped at 40 images: the losses are no finite numbers" in lines.pop()


def test_a_batch_that_cannot_be_shared_is_refused(
    options: tuple[str, ...], both: Both, tmp_path: Path
) -> None:
    for odd, refusal in (
        (("--microbatch", "8"), "2 processes cannot share batches of 8 images in microbatches of 8"),
        (("--batch", "9"), "2 processes cannot share a batch of 9 images; choose a --batch that is a mult"),
    ):
        for training in both(tmp_path / "run", *options, *odd):
            assert refusal in training.wait()
            assert training.process.exitcode == 1
    assert not (tmp_path / "run" / "run.json").exists()
