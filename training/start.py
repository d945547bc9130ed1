"""How a run begins or goes on: its record, its images, its state and its device."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, processes, run
from training.data import ImageData, load
from training.data_errors import DataError
from training.game import Game
from training.hyperparameters import Hyperparameters
from training.run import BEST_FILE, CHECKPOINT_FILE, RunError, RunRecord


def begin(
    folder: Path, source: str | None, column: str | None, given: dict[str, Any], cache: Path
) -> tuple[RunRecord, ImageData]:
    """A new run on the images of `source`. Raises RunError, DataError or ValidationError."""
    hyperparameters = Hyperparameters.model_validate(given)
    if processes.count() > 1 and "microbatch" not in given:
        share, uneven = divmod(hyperparameters.batch, processes.count())
        if uneven:
            raise RunError(
                f"{processes.count()} processes cannot share a batch of {hyperparameters.batch} images; "
                "choose a --batch that is a multiple of their number"
            )
        hyperparameters = Hyperparameters.model_validate(given | {"microbatch": share})
    run.refuse_existing(folder)
    if source is None:
        raise RunError("DATA is missing: name a folder of images, or give --resume to continue a run")
    data = load_images(source, hyperparameters.resolution, None, "train", column, cache)
    return RunRecord.of(hyperparameters, source, data, column=column), data


def resume(
    folder: Path, source: str | None, column: str | None, given: dict[str, Any], cache: Path
) -> tuple[RunRecord, ImageData]:
    """The run in the folder, with other microbatches where `given` has them and they may be others.

    Raises RunError, also when what is given differs from the run's own, DataError or ValidationError.
    """
    record = run.read(folder).resumed(given)
    if column not in (None, record.data.column):
        raise RunError(
            f"a run resumes on its own images; leave out --column {column} (the run was begun with "
            f"{record.data.column or 'none'})"
        )
    settings, column = record.hyperparameters, record.data.column
    try:
        data = load_images(source or record.data.source, settings.resolution, None, "train", column, cache)
    except DataError as error:
        if source:
            raise
        elsewhere = f"if the images of the run in {folder} are elsewhere by now, name where as DATA"
        raise DataError(f"{error}; {elsewhere}") from None
    if data.fingerprint != record.data.fingerprint:
        raise RunError(
            f"{source or record.data.source} differs from the images that the run in {folder} began with; "
            "name where those images are as DATA, or start another run"
        )
    return record, data


def restore(game: Game, folder: Path) -> None:
    """Take the state of the newest checkpoint, or else of the best; where neither was saved, begin again.

    Raises RunError, CheckpointError, or OSError.
    """
    saved = [name for name in (CHECKPOINT_FILE, BEST_FILE) if checkpoint.exists(folder / name)]
    if not saved:
        return
    try:
        game.load(folder, saved[0])
    except checkpoint.AllDamaged as damaged:
        best = f"goes on from {BEST_FILE}, or else " if saved[0] == CHECKPOINT_FILE else ""
        raise RunError(f"{damaged}, or remove them: --resume {best}begins the run again then") from None
    if saved[0] == BEST_FILE and processes.is_first():
        print(
            f"ganserve: there is no checkpoint in {folder}; the run goes on from {BEST_FILE}, at "
            f"{game.progress.images_seen:,} images seen",
            file=sys.stderr,
        )
        game.save(folder)


def load_images(
    source: str, resolution: int, channels: int | None, split: str, column: str | None, cache: Path
) -> ImageData:
    """As training.data.load; names the images that were left out."""
    with processes.first_of_machine_first():
        data = load(
            source,
            resolution=resolution,
            channels=channels,
            split=split,
            column=column,
            cache=cache.expanduser(),
        )
    if data.unreadable and processes.is_first():
        print(f"left out {len(data.unreadable)} unreadable images:", file=sys.stderr)
        print("\n".join(f"  {line}" for line in data.unreadable), file=sys.stderr)
    return data


def choose_device(name: str) -> torch.device:
    """The device of this process: of several on one machine, each has a GPU. Raises RunError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise RunError(f"--device must be auto, cpu, cuda or cuda:N, got {name}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    chosen = name.partition(":")[2]
    if chosen and processes.started() > 1:
        raise RunError(
            f"--device {name} would be that of all {processes.started()} processes; give --device cuda"
        )
    index, found = int(chosen or processes.local_rank()), torch.cuda.device_count()
    if index >= found:
        whose = "" if chosen else f", and process {index} of this machine has none"
        raise RunError(f"--device {name}: torch finds {found} CUDA devices here, numbered from 0{whose}")
    return torch.device("cuda", index)


@contextmanager
def deterministic_kernels(*, on: bool) -> Iterator[None]:
    """Compute with kernels that give the same bits each time on the same kind of GPU, where they would not.

    Of what the networks use that is cuDNN's and cuBLAS's choice of algorithm, and the gradient of bilinear
    resampling, which torch computes in another way then.
    """
    if not on:
        yield
        return
    # read by torch when it first calls cuBLAS
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
