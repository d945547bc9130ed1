"""What a run shows while it trains: progress bar, JSON lines, TensorBoard and sample grids."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.files import naming, remove_leftovers, replacing
from training.progress import BAR
from training.run import SAMPLES_FOLDER

LOG = "log.jsonl"


class Monitor:
    """Logs of one run folder, from `images_seen` on.

    What an earlier session left beyond `images_seen` is taken back: the run replays it.
    """

    def __init__(self, folder: Path, images_seen: int, images: int) -> None:
        self._log = folder / LOG
        remove_leftovers(folder)
        _forget_after(self._log, images_seen)
        for picture in (folder / SAMPLES_FOLDER).glob("*.png"):
            if picture.stem.isdecimal() and int(picture.stem) > images_seen:
                picture.unlink()
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=images_seen + 1)
        self._bar = tqdm(total=images, initial=images_seen, unit="img", unit_scale=True, **BAR)
        self._since = time.perf_counter(), images_seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._board.close()

    def advance(self, images: int) -> None:
        self._bar.update(images)

    def record(self, images_seen: int, scalars: dict[str, float]) -> None:
        """Log scalars (losses, penalties) with the speed since the last record, in images/s."""
        now = time.perf_counter()
        start, before = self._since
        self._since = now, images_seen
        entry = scalars | {"images_per_second": (images_seen - before) / (now - start)}
        with naming(self._log), self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"images_seen": images_seen} | entry) + "\n")
        for name, value in entry.items():
            self._board.add_scalar(name, value, images_seen)
        self._board.flush()  # a full disk is told here
        self._bar.set_postfix(
            D=f"{scalars['discriminator']:.3f}", G=f"{scalars['generator']:.3f}", refresh=False
        )

    def show(self, images_seen: int, grid: NDArray[np.uint8], path: Path) -> None:
        """Write a sample grid [height, width, channels] to `path` and to TensorBoard."""
        path.parent.mkdir(exist_ok=True)
        write_picture(path, grid)
        self._board.add_image("samples", grid, images_seen, dataformats="HWC")
        self._board.flush()


def sample_grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images [n, H, W, C], row after row, as one picture [rows * H, columns * W, C]."""
    rows = len(images) // columns
    _, height, width, channels = images.shape
    cells = images[: rows * columns].reshape(rows, columns, height, width, channels)
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A PNG of pixels [height, width, 1 or 3], aside first, then renamed."""
    with replacing(path) as aside:
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(aside, format="PNG")


def _forget_after(log: Path, images_seen: int) -> None:
    if not log.exists():
        return
    kept = [
        line
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n") and json.loads(line)["images_seen"] <= images_seen
    ]
    with replacing(log) as aside:
        aside.write_text("".join(kept), encoding="utf-8")
