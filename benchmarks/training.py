"""The training loop beside a plain PyTorch loop over the same networks, and the memory that it takes.

    python -m benchmarks.training [--device cuda] [--resolution 32 ...] [--write]

For each architecture, preset and resolution, at the architecture's own loss and batch, in colour, with ten
classes. The plain loop is that of `plain_loop`: its images lie ready in memory, and it has neither moving
average nor augmentation, log or checkpoint. Both take steps in turns; each pair gives a ratio, and the table
has medians. On a CPU one thread computes, and its processor time counts, so that other work on the machine
does not; on a GPU it is the time until the GPU is done.
"""

import argparse
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from benchmarks.plain_loop import plain_step
from training import held_out, monitor
from training.batches import draw
from training.cli import app
from training.data import ImageData
from training.game import Game
from training.hardware import hardware
from training.hyperparameters import DEFAULTS, Hyperparameters
from training.losses import Objective
from training.networks import PRESETS, RESOLUTIONS, build, to_signed
from training.run import SNAPSHOT, RunRecord

CLASSES, CHANNELS, IMAGES = 10, 3, 4_096
# a combination is left out when a step takes more seconds than PATIENCE; the others are measured for SECONDS
PATIENCE, SECONDS = 5.0, 15.0
# of the run whose loop is measured around its steps: it logs every 1,000 images
PLAN = {"images": 1_600, "snapshot": 1_280}
RESULTS = Path(__file__).with_suffix(".md")
Step = Callable[[], object]


@dataclass(frozen=True)
class Combination:
    architecture: str
    preset: str
    resolution: int

    @property
    def settings(self) -> Hyperparameters:
        chosen = {name: getattr(self, name) for name in ("architecture", "preset", "resolution")}
        return Hyperparameters.model_validate(chosen)


@dataclass(frozen=True)
class Measured:
    """Images per second of both loops, their ratio, the share of a step that data take, and peak MB."""

    ours: float
    plain: float
    ratio: float
    data: float
    memory: float


def plain_loop(settings: Hyperparameters, data: ImageData, device: torch.device) -> Step:
    generator, discriminator = build(
        settings.architecture, settings.preset, settings.resolution, CHANNELS, CLASSES, settings.normalization
    )
    return plain_step(
        generator.to(device),
        discriminator.to(device),
        Objective(settings.loss, settings.penalty, settings.gamma.start),
        to_signed(torch.from_numpy(data.images[: settings.batch]).to(device)),
        F.one_hot(torch.from_numpy(data.labels[: settings.batch]), CLASSES).float().to(device),
        latent_dim=generator.latent_dim,
        learning_rate=settings.learning_rate.start,
        betas=settings.betas,
    )


def data_alone(settings: Hyperparameters, data: ImageData, game: Game) -> Step:
    """What a step does until its real images and random numbers are on the device."""

    def fetch() -> None:
        latent = (settings.latent, game.generator.latent_dim)
        draws = draw(settings.seed, game.progress.images_seen, settings.batch, len(data.images), latent)
        draws.to(game.device)
        to_signed(torch.from_numpy(data.images[draws.rows]).to(game.device))
        F.one_hot(torch.from_numpy(data.labels[draws.rows]), CLASSES).float().to(game.device)

    return fetch


def seconds(step: Step, device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


@contextmanager
def images_on_disk(resolution: int) -> Iterator[ImageData]:
    """Random ones, as a memory-mapped file like those of training.data."""
    with tempfile.NamedTemporaryFile() as file:
        shape = (IMAGES, resolution, resolution, CHANNELS)
        images = np.memmap(file.name, np.uint8, "w+", shape=shape)
        draws = np.random.default_rng(0)
        for row in range(IMAGES):
            images[row] = draws.integers(256, size=shape[1:], dtype=np.uint8)
        labels = np.arange(IMAGES) % CLASSES
        yield ImageData("random", "none", images, labels, tuple(map(str, range(CLASSES))), ())


def peak_megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(combination: Combination, device_name: str) -> Measured | float:
    """In a process of its own, for the memory's sake; the seconds of a step when they are too many."""
    torch.set_num_threads(1)
    device, settings = torch.device(device_name), combination.settings
    with images_on_disk(combination.resolution) as data:
        few = settings.model_copy(update={"batch": 4, "microbatch": 4})
        small = partial(Game(RunRecord.of(few, "random", data), device).step, data)
        small()
        guess = seconds(small, device) * settings.batch / few.batch
        if guess > 1.5 * PATIENCE:
            return guess
        del small
        game = Game(RunRecord.of(settings, "random", data), device)
        first = seconds(lambda: game.step(data), device)
        if first > PATIENCE:
            return first
        game.step(data)
        memory = peak_megabytes(device)
        plain, fetch = plain_loop(settings, data, device), data_alone(settings, data, game)
        plain()
        pairs = []
        for number in range(max(9, min(50, int(SECONDS / first / 2)))):
            # whoever comes second finds the caches as the first left them
            order: list[Step] = [lambda: game.step(data), plain]
            taken = [seconds(step, device) for step in order[:: 1 if number % 2 else -1]]
            pairs.append(taken if number % 2 else taken[::-1])
        data_seconds = statistics.median(seconds(fetch, device) for _ in range(9))
    ours, plain_seconds = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Measured(
        ours=settings.batch / ours,
        plain=settings.batch / plain_seconds,
        ratio=statistics.median(mine / other for mine, other in pairs),
        data=data_seconds / ours,
        memory=memory,
    )


def around_the_steps() -> str:
    """What a run of `tiny` at 32x32 does between its steps, in words; on the CPU, whose time is counted."""
    torch.set_num_threads(1)
    steps: list[tuple[float, float]] = []
    step = Game.step

    def watched(game: Game, data: ImageData) -> dict[str, torch.Tensor]:
        start = time.process_time()
        result = step(game, data)
        steps.append((start, time.process_time()))
        return result

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(Game, "step", watched),
        patch.object(monitor, "CURVES_INTERVAL", 0),  # as in a run with minutes between snapshots
    ):
        draws = np.random.default_rng(0)
        for number in range(10 * held_out.MOST):  # as many are held out as of any larger data set
            place = Path(folder) / "images" / str(number % CLASSES)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(
                place / f"{number}.png"
            )
        plan = [part for name, number in PLAN.items() for part in (f"--{name}", str(number))]
        places = ["--run", f"{folder}/run", "--cache", f"{folder}/cache", "--device", "cpu"]
        app(["train", f"{folder}/images", *places, *plan], standalone_mode=False)
    taken = statistics.median(end - start for start, end in steps)
    gaps = [after[0] - before[1] for before, after in pairwise(steps)]
    batch = PLAN["images"] // len(steps)
    log, snapshot = (gaps[images // batch - 1] for images in (1_024, PLAN["snapshot"]))
    share = (statistics.median(gaps) / batch + log / 1_000 + snapshot / SNAPSHOT) / (taken / batch)
    return (
        f"Between two steps of `tiny` at 32x32 of {taken * 1e3:.0f} ms, `ganserve train` takes "
        f"{statistics.median(gaps) * 1e3:.2f} ms, {log * 1e3:.0f} ms more every 1,000 images for the log and "
        f"{snapshot * 1e3:.0f} ms every {SNAPSHOT:,} for what it shows and saves: {share:.2%} of all."
    )


def row(combination: Combination, result: Measured | float) -> str:
    name = f"| {combination.architecture} | {combination.preset} | {combination.resolution} "
    name += f"| {combination.settings.batch} "
    if isinstance(result, float):
        return f"{name}| from here on left out: a step takes {result:.0f} s | | | | |"
    return (
        f"{name}| {result.ours:.3g} | {result.plain:.3g} | {result.ratio - 1:+.1%} | {result.data:.2%} "
        f"| {result.memory:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--architecture", nargs="+", default=list(DEFAULTS))
    parser.add_argument("--preset", nargs="+", default=list(PRESETS))
    parser.add_argument("--resolution", nargs="+", type=int, default=list(RESOLUTIONS))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    on_cpu = device.type == "cpu"
    unit = "processor second" if on_cpu else "second"
    torch.set_num_threads(1)
    kernels = torch.backends.cpu.get_cpu_capability() if on_cpu else f"CUDA {torch.version.cuda}"
    versions = f"{kernels}, torch {torch.__version__}, Python {platform.python_version()}"
    columns = (
        "architecture",
        "preset",
        "resolution",
        "batch",
        f"images per {unit}",
        "plain loop",
        "overhead",
    )
    lines = [
        "# Training speed",
        "",
        f"`python -m benchmarks.training --device {device}`: {hardware(device)}, {versions}.",
        "",
        f"| {' | '.join(columns)} | data | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for architecture, preset in product(chosen.architecture, chosen.preset):
        for resolution in sorted(chosen.resolution):
            combination = Combination(architecture, preset, resolution)
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                result = alone.apply(measure, (combination, chosen.device))
            lines.append(row(combination, result))
            print(lines[-1], flush=True)
            if isinstance(result, float):  # larger ones take longer still
                break
    with multiprocessing.get_context("spawn").Pool(1) as alone:
        lines += ["", alone.apply(around_the_steps)]
    print(f"\n{lines[-1]}")
    if chosen.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
