"""Play the game until enough images were seen, with logs, sample grids and checkpoints on the way."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from training.data import ImageData
from training.game import SAMPLE_COLUMNS, Game
from training.monitor import Monitor, sample_grid
from training.run import SAMPLES_FOLDER

LOG_INTERVAL = 1_000


class Diverged(ValueError):
    """Losses that are no finite numbers."""


def run_game(game: Game, data: ImageData, folder: Path, images: int, snapshot: int) -> signal.Signals | None:
    """Train until `images` were seen; every `snapshot` images, a sample grid and a checkpoint.

    SIGINT and SIGTERM save a checkpoint and end the training; the signal is then returned. Raises Diverged
    when a loss is no number any more, and CheckpointError when a checkpoint cannot be written.
    """
    progress = game.progress
    batch = game.settings.batch
    saved = logged = progress.images_seen
    sums: dict[str, Tensor] = {}
    with _signals() as received, Monitor(folder, saved, images) as monitor:
        while progress.images_seen < images and not received:
            start = time.perf_counter()
            for name, value in game.step(data).items():
                sums[name] = sums.get(name, torch.zeros(())) + value.cpu() * batch
            progress.seconds += time.perf_counter() - start
            seen = progress.images_seen
            monitor.advance(batch)
            snapshot_due = seen // snapshot > saved // snapshot or seen >= images
            if snapshot_due or seen // LOG_INTERVAL > logged // LOG_INTERVAL:
                monitor.record(seen, _means(sums, logged, seen))
                sums, logged = {}, seen
            if snapshot_due:
                grid = sample_grid(game.samples(), SAMPLE_COLUMNS)
                monitor.show(seen, grid, folder / SAMPLES_FOLDER / f"{seen:09d}.png")
                game.save(folder)
                saved = seen
        if saved < progress.images_seen:
            _means(sums, logged, progress.images_seen)  # what has diverged is not saved
            game.save(folder)
    return received[0] if received else None


def _means(sums: dict[str, Tensor], start: int, stop: int) -> dict[str, float]:
    """The sums over the images [start, stop) as means. Raises Diverged when one is not finite."""
    means = {name: float(total) / (stop - start) for name, total in sums.items()}
    if not all(map(math.isfinite, means.values())):
        raise Diverged(
            f"training diverged before {stop:,} images: {means}; the last checkpoint is kept; "
            "start another run with a lower --learning-rate or a higher --gamma"
        )
    return means


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
