"""Runs that are killed at any point, find no room, or lose a checkpoint: all go on, bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.runs import IMAGES, Training, equal, whole


@pytest.fixture(scope="module")
def unbroken(new: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    Training(run, *new).finish()
    return run


def test_a_run_goes_on_from_a_kill_at_each_of_its_writes(
    unbroken: Path, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Training(run, *new, "--images", "8").finish()
    kills = 0
    while (training := Training(run, *again, "--images", str(IMAGES), dies_at=kills + 1)).wait() is not None:
        if training.process.exitcode == 0:
            break
        assert training.process.exitcode == -9
        kills += 1
    assert kills > 15
    assert whole(run, unbroken)


def test_a_run_that_is_killed_before_its_first_checkpoint_begins_again(
    unbroken: Path, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert "checkpoint" not in Training(run, *new, dies_at=19).wait()
    assert (run / "log.jsonl").exists()
    assert not any((run / name).exists() for name in ("checkpoint.pt", "best.pt"))
    Training(run, *again).finish()
    assert whole(run, unbroken)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    unbroken: Path, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Training(run, *new).finish()
    newest = run / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    output = Training(run, *again).finish()
    (line,) = (line for line in output.splitlines() if line.startswith("ganserve: "))
    assert line == (
        f"ganserve: the checkpoint {newest} is damaged (it does not match its digest); went back to "
        "checkpoint.previous.pt, at 16 images seen"
    )
    assert whole(run, unbroken)


def test_a_run_that_lost_its_checkpoints_goes_on_from_its_best(
    unbroken: Path, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Training(run, *new, "--images", "16").finish()
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (run / name).unlink()
    best = torch.load(run / "best.pt", weights_only=True)["progress"]["images_seen"]
    output = Training(run, *again, "--images", str(IMAGES)).finish()
    said = f"ganserve: there is no checkpoint in {run}; the run goes on from best.pt, at {best} images seen"
    assert said in output.splitlines()
    assert equal(run, unbroken)


def test_a_run_that_is_killed_before_its_only_checkpoint_is_whole_in_the_end(
    new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    single = ("--images", "8")
    Training(tmp_path / "unbroken", *new, *single).finish()
    run = tmp_path / "run"
    Training(run, *new, *single, dies_at=25).wait()  # with its best state saved
    assert [(run / name).exists() for name in ("best.pt", "checkpoint.pt")] == [True, False]
    Training(run, *again, *single).finish()
    assert whole(run, tmp_path / "unbroken")


def room_for_the_log(run: Path) -> int:
    log = run / "log.jsonl"
    first = json.loads(log.read_text())
    log.write_text(json.dumps(first | {"padding": " " * 60_000}) + "\n")  # it is the largest file then
    return log.stat().st_size + 10


def room_for_a_sample(run: Path) -> int:
    return next((run / "samples").iterdir()).stat().st_size


# bytes that a file may have, by what is the first to want more of them
ROOM: dict[str, Callable[[Path], int]] = {
    "log.jsonl": room_for_the_log,
    "samples/000000016.png": lambda run: room_for_a_sample(run) - 1_000,
    "tensorboard": lambda run: room_for_a_sample(run) + 500,
    "best.pt": lambda _: 200_000,
}


@pytest.mark.parametrize("file", ROOM)
def test_a_run_that_finds_no_room_says_so_and_goes_on_when_there_is(
    file: str, unbroken: Path, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Training(run, *new, "--images", "8").finish()
    limit = ROOM[file](run)
    full = Training(run, *again, "--images", str(IMAGES), limit=limit)
    output = full.wait()
    assert full.process.exitcode == 1
    assert "Traceback" not in output
    named = run if file == "tensorboard" else run / file
    assert output.splitlines()[-1] == (
        f"ganserve: {named} cannot be written (File too large); the last checkpoint is kept; mend that, then "
        "continue with --resume"
    )
    if file in {"log.jsonl", "tensorboard"}:  # cut where the room ends
        assert any(path.stat().st_size == limit for path in run.rglob("*"))
    Training(run, *again).finish()
    assert equal(run, unbroken)


def test_a_run_that_has_no_room_at_all_is_not_begun(new: tuple[str, ...], tmp_path: Path) -> None:
    full = Training(tmp_path / "run", *new, limit=300)
    assert full.wait() == f"ganserve: [Errno 27] File too large: '{tmp_path / 'run' / 'run.json'}'\n"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
