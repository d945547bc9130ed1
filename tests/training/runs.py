"""Trainings in processes of their own, and the weights that they leave behind."""

import itertools
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

# It has imported all of training once; each process that it forks starts at once.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.training.preloaded"])
PATIENCE = 300
# a short run, with a checkpoint after each step
IMAGES = 24
PLAN = ("--resolution", "16", "--batch", "8", "--images", str(IMAGES), "--snapshot", "8")
_NUMBERS = itertools.count()


class Training:
    """`ganserve train --run folder` with these arguments as a process on one thread.

    environment: beside that of the tests; limit: bytes that it may write to one file; dies_at: it kills
    itself just before it opens (to write), makes, renames or removes this many files of its folder;
    signalled: it sends itself this signal after a step, when it has seen so many images.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        environment: dict[str, str] | None = None,
        limit: int | None = None,
        dies_at: int | None = None,
        signalled: tuple[int, signal.Signals] | None = None,
    ) -> None:
        self._output = folder.with_name(f"{folder.name}.{next(_NUMBERS)}.output")
        command = ["train", "--run", str(folder), *map(str, arguments)]
        work = (command, self._output, folder, environment or {}, limit, dies_at, signalled)
        self.process: BaseProcess = _SERVER.Process(target=_train, args=work, daemon=True)
        self.process.start()

    def wait(self) -> str:
        """What it printed, errors too, once it has ended, however that was."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "still running"
        return self._output.read_text()

    def finish(self) -> str:
        """What it printed, once it has ended well."""
        output = self.wait()
        assert self.process.exitcode == 0, output
        return output


def wait_for(path: Path, alive: Callable[[], bool]) -> Path:
    """The file, once it is there; the process that will write it must stay alive."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    """A process as a user starts it, on one thread; what it prints and its errors come as one output."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the networks in the checkpoint of a run."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    return {
        f"{part}.{name}": value
        for part in ("generator", "discriminator", "average")
        for name, value in state[part].items()
    }


def equal(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights, bit for bit, and have decided the same."""
    left, right = weights(one), weights(other)
    same = left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    return same and decisions(one) == decisions(other)


def whole(run: Path, unbroken: Path) -> bool:
    """Whether nothing tells a run from one that was never interrupted."""
    left, right = (
        [path.relative_to(folder) for path in sorted(folder.rglob("*")) if "events" not in path.name]
        for folder in (run, unbroken)
    )
    logs = [
        [
            json.loads(line) | {"images_per_second": 0}
            for line in (folder / "log.jsonl").read_text().splitlines()
        ]
        for folder in (run, unbroken)
    ]
    return left == right and logs[0] == logs[1] and equal(run, unbroken)


def decisions(run: Path) -> dict[str, Any]:
    """What the checkpoint of a run knows of how far it is: measurements, returns to the best, images seen."""
    progress = torch.load(run / "checkpoint.pt", weights_only=True)["progress"]
    return {name: value for name, value in progress.items() if name not in {"seconds", "hardware"}}


def signal_itself(images: int, number: signal.Signals) -> None:
    """Let the training of this process send itself a signal after a step, when it has seen so many images."""
    from training.game import Game  # noqa: PLC0415 - the server has it already

    step = Game.step

    def signalled(game: Any, data: Any) -> Any:
        losses = step(game, data)
        if game.progress.images_seen == images:
            os.kill(os.getpid(), number)
        return losses

    Game.step = signalled  # type: ignore[assignment, method-assign]


def _train(
    command: list[str],
    output: Path,
    folder: Path,
    environment: dict[str, str],
    limit: int | None,
    dies_at: int | None,
    signalled: tuple[int, signal.Signals] | None,
) -> None:
    with output.open("w") as file:
        for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
            os.dup2(file.fileno(), descriptor)
    os.environ.update(environment)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if dies_at is not None:
        _die_at(dies_at, folder)
    if signalled is not None:
        signal_itself(*signalled)
    from training.cli import app  # noqa: PLC0415 - the server has it already

    app(command)


def _die_at(number: int, folder: Path) -> None:
    left = number

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open":
            writes = bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR))
        else:
            writes = event in {"os.mkdir", "os.rename", "os.remove"}
        if writes and str(arguments[0]).startswith(str(folder)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
