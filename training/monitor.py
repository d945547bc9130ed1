"""What a run shows while it trains: progress bar, JSON lines, TensorBoard and sample grids."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from models.files import naming
from training import curves
from training.bars import BAR
from training.files import ASIDE, remove_leftover, replacing
from training.progress import Progress
from training.run import BEST_FILE, CURVES_FILE, FILES, LOG_FILE, SAMPLES_FOLDER
from training.sample_grid import write_picture
from training.stopping import Measurement

# seconds between two pictures of the curves: to draw one can take longer than a GPU needs for a snapshot
CURVES_INTERVAL = 30.0


class Monitor:
    """Logs of one run folder, from `images_seen` on.

    What an earlier session left beyond `images_seen` is taken back, as are returns after `returned_at`: the
    run replays them.
    """

    def __init__(self, folder: Path, images_seen: int, images: int, *, returned_at: int = 0) -> None:
        self._folder = folder
        self._log = folder / LOG_FILE
        for name in FILES:
            remove_leftover(folder / name)
        _forget_after(self._log, images_seen, returned_at)
        _remove_samples_after(folder / SAMPLES_FOLDER, images_seen)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=images_seen + 1)
        self._bar = tqdm(total=images, initial=images_seen, unit="img", unit_scale=True, **BAR)
        self._since = time.perf_counter(), images_seen
        self._drawn = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._board.close()
        if not error and self._log.exists() and self._log.stat().st_size:
            self._draw_curves()

    def advance(self, images: int) -> None:
        self._bar.update(images)

    def record(self, images_seen: int, facts: dict[str, Any]) -> None:
        """Log facts (losses, penalties, measurements) with the speed since the last record, in images/s."""
        now = time.perf_counter()
        start, before = self._since
        self._since = now, images_seen
        entry = facts | {"images_per_second": (images_seen - before) / (now - start)}
        self._append({"images_seen": images_seen} | entry)
        for name, value in entry.items():
            if isinstance(value, int | float) and name != "images_seen":
                self._board.add_scalar(name, value, images_seen)
        self._board.flush()  # a full disk is told here
        self._bar.set_postfix(D=f"{facts['discriminator']:.3f}", G=f"{facts['generator']:.3f}", refresh=False)

    def tell(self, now: Measurement, least: Measurement) -> None:
        """Say in a line what was measured."""
        beside = "the best" if now is least else f"best {least.distance:.3g} at {least.images_seen:,}"
        whose = f", {now.least_class} {now.least_variety:.0%}" if now.least_class else ""
        self._say(
            f"{now.images_seen:,} images: distance {now.distance:.3g} ({beside}), recall {now.recall:.0%}, "
            f"variety {now.variety:.0%}{whose}, accuracy {now.accuracy:.0%} ({now.accuracy_on_seen:.0%} on "
            "images that it has seen)"
        )

    def best_is_gone(self) -> None:
        """Say that the best state was removed."""
        self._say(f"{BEST_FILE} is gone: what is measured next counts as the best again")

    def returned(self, progress: Progress, reason: str, least: Measurement) -> None:
        """Log and say that a run went back to its best state."""
        share = progress.learning_rate_share
        entry = {"returned_to": least.images_seen, "because": reason, "learning_rate_share": share}
        self._append({"images_seen": progress.images_seen} | entry)
        self._say(
            f"{progress.images_seen:,} images: {reason}; back to the best state, of {least.images_seen:,} "
            f"images, at {share:g} times the learning rate"
        )

    def show(self, images_seen: int, grid: NDArray[np.uint8]) -> None:
        """Write a sample grid [height, width, channels], also to TensorBoard, and now and then the curves."""
        samples = self._folder / SAMPLES_FOLDER
        samples.mkdir(exist_ok=True)
        write_picture(samples / f"{images_seen:09d}.png", grid)
        self._board.add_image("samples", grid, images_seen, dataformats="HWC")
        self._board.flush()
        if time.perf_counter() - self._drawn >= CURVES_INTERVAL:
            self._draw_curves()

    def _draw_curves(self) -> None:
        curves.draw(self._log, self._folder / CURVES_FILE)
        self._drawn = time.perf_counter()

    def _append(self, entry: dict[str, Any]) -> None:
        with naming(self._log), self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _say(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr)


def _remove_samples_after(folder: Path, images_seen: int) -> None:
    for path in folder.glob("*.png*"):
        number, _, kind = path.name.partition(".")
        begun = kind == f"png{ASIDE}"
        if number.isdecimal() and (begun or (kind == "png" and int(number) > images_seen)):
            path.unlink()


def _forget_after(log: Path, images_seen: int, returned_at: int) -> None:
    if not log.exists():
        return
    lines = log.read_bytes().splitlines(keepends=True)
    with replacing(log) as aside:
        aside.write_bytes(b"".join(line for line in lines if _is_of(line, images_seen, returned_at)))


def _is_of(line: bytes, images_seen: int, returned_at: int) -> bool:
    """Whether it is a line of the log up to there; one that a power cut has damaged is none."""
    try:
        entry = json.loads(line)
        last = returned_at if "returned_to" in entry else images_seen
        return line.endswith(b"\n") and bool(entry["images_seen"] <= last)
    except (ValueError, TypeError, KeyError):
        return False
