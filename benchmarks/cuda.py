"""Captured CUDA graphs beside ONNX Runtime's CUDA provider as it comes, on a GPU.

    python -m benchmarks.cuda            # the generators in models/
    python -m benchmarks.cuda <shelf>

The peers are `session.run` of the same file with the provider's defaults, which allow TensorFloat-32 and time
the convolutions, and with our settings. Each runs in turn, latents in and images out; medians of the rounds.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from models.shelf import Generator, Shelf
from service.buckets import buckets
from service.cuda import CUDA, CUDA_SETTINGS, Cuda
from service.device import choose
from service.errors import EngineError
from service.rows import Feeds

MAX_BATCH, ROUNDS, SECONDS = 64, 7, 0.2


def contenders(generator: Generator) -> dict[str, Callable[[Feeds], object]]:
    runs: dict[str, Callable[[Feeds], object]] = {"ours": Cuda().open(generator, MAX_BATCH).run}
    for name, settings in (("our settings", CUDA_SETTINGS), ("defaults", {})):
        session = onnxruntime.InferenceSession(generator.path, providers=[(CUDA, settings)])
        runs[name] = partial(session.run, None)
    return runs


def milliseconds(run: Callable[[Feeds], object], feeds: Feeds) -> float:
    began, runs = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        run(feeds)
        runs += 1
    return passed / runs * 1000


def main(shelf: Path) -> None:
    try:
        choose("cuda", threads=1)
    except EngineError as error:
        sys.exit(str(error))
    print(f"onnxruntime {onnxruntime.__version__}, medians of {ROUNDS} rounds of {SECONDS} s\n")
    print("| generator | rows | ours, ms | images/s | our settings, ms | ratio | defaults, ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for generator in Shelf(shelf).list():
        runs = contenders(generator)
        draws = np.random.default_rng(0)
        for rows in buckets(MAX_BATCH):
            feeds = {
                name: draws.standard_normal((rows, *row), np.float32)
                for name, row in generator.contract.inputs.items()
            }
            taken: dict[str, list[float]] = {name: [] for name in runs}
            for run in runs.values():
                run(feeds)
            for _ in range(ROUNDS):
                for name, run in runs.items():
                    taken[name].append(milliseconds(run, feeds))
            ours, *peers = (statistics.median(times) for times in taken.values())
            columns = [f"{ours:.3f}", f"{rows / ours * 1000:.0f}"]
            columns += [f"{peer:.3f} | {peer / ours:.2f}" for peer in peers]
            print(f"| {generator.reference} | {rows} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("models"))
