"""Play the game until enough images were seen, with logs, sample grids and checkpoints on the way."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from training import processes
from training.data import ImageData
from training.game import SAMPLE_COLUMNS, Game
from training.monitor import Monitor, sample_grid
from training.run import SAMPLES_FOLDER, RunError

LOG_INTERVAL = 1_000


class Diverged(ValueError):
    """Losses that are no finite numbers."""


def run_game(game: Game, data: ImageData, folder: Path, images: int, snapshot: int) -> signal.Signals | None:
    """Train until `images` were seen; every `snapshot` images, a sample grid and a checkpoint.

    SIGINT and SIGTERM save a checkpoint and end the training; the signal is then returned. Raises Diverged
    when a loss is no number any more, and RunError when something cannot be written. Of several processes
    the first alone writes.
    """
    progress = game.progress
    start = progress.images_seen
    if processes.total(start, game.device) != start * processes.count():
        raise RunError(f"the processes found different checkpoints; {folder} must be one folder for all")
    with (
        _failed_writes(folder),
        _signals() as received,
        Monitor(folder, start, images) if processes.is_first() else nullcontext() as monitor,
    ):
        session = _Session(game, data, folder, monitor)
        while progress.images_seen < images and not _asked_to_stop(received, game.device):
            session.step()
            seen = progress.images_seen
            if seen // snapshot > session.saved // snapshot or seen >= images:
                session.log()
                session.save(show=True)
            elif seen // LOG_INTERVAL > session.logged // LOG_INTERVAL:
                session.log()
        if session.saved < progress.images_seen:
            session.means()  # what has diverged is not saved
            session.save(show=False)
    return received[0] if received else None


class _Session:
    """A game under way, and what is written of it."""

    def __init__(self, game: Game, data: ImageData, folder: Path, monitor: Monitor | None) -> None:
        self._game, self._data, self._folder, self._monitor = game, data, folder, monitor
        self.saved = self.logged = game.progress.images_seen
        self._sums: dict[str, Tensor] = {}
        self._last = time.perf_counter()

    def step(self) -> None:
        game, batch = self._game, self._game.settings.batch
        for name, value in game.step(self._data).items():
            self._sums[name] = self._sums.get(name, 0.0) + value * batch
        now = time.perf_counter()
        game.progress.seconds += now - self._last
        self._last = now
        if self._monitor:
            self._monitor.advance(batch)

    def means(self) -> dict[str, float]:
        """What steps gave since the last log, on average. Raises Diverged when one is not finite."""
        seen = self._game.progress.images_seen
        means = {name: float(total) / (seen - self.logged) for name, total in self._sums.items()}
        if not all(map(math.isfinite, means.values())):
            raise Diverged(
                f"training diverged before {seen:,} images: {means}; the last checkpoint is kept; "
                "start another run with a lower --learning-rate or a higher --gamma"
            )
        return means

    def log(self) -> None:
        means, seen = self.means(), self._game.progress.images_seen
        if self._monitor:
            self._monitor.record(seen, means)
        self._sums, self.logged = {}, seen

    def save(self, *, show: bool) -> None:
        game = self._game
        self.saved = seen = game.progress.images_seen
        if self._monitor:
            game.settle(self._data)
            if show:
                grid = sample_grid(game.samples(), SAMPLE_COLUMNS)
                self._monitor.show(seen, grid, self._folder / SAMPLES_FOLDER / f"{seen:09d}.png")
            game.save(self._folder)


def _asked_to_stop(received: list[signal.Signals], device: torch.device) -> bool:
    """Whether a signal came to any process, so that all stop after the same step."""
    if processes.total(len(received), device) and not received:
        received.append(signal.SIGTERM)
    return bool(received)


@contextmanager
def _failed_writes(folder: Path) -> Iterator[None]:
    """A full disk ends the run with one line."""
    before = threading.excepthook
    # tensorboard writes in a thread, whose errors it raises here as well
    threading.excepthook = lambda told: None if isinstance(told.exc_value, OSError) else before(told)
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{error.filename or folder} cannot be written ({error.strerror}); the last checkpoint is kept; "
            "mend that, then continue with --resume"
        ) from None
    finally:
        threading.excepthook = before


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """The signals that ask to stop, as they arrive."""
    received: list[signal.Signals] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(signal.Signals(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
