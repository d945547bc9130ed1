"""The limit: `session.run` with nothing around it, as JSON.

    python -m benchmarks.serving.bare <shelf> <cores> <seconds>

A batch runs in a session as it comes: on all cores, whose threads spin; or in as many loops as there are
cores, each on one thread.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from pydantic import BaseModel

from models.contract import Contract
from models.shelf import Generator, Shelf
from service.encoding import FORMATS, Generated

BATCHES = (1, 8, 16, 32, 64, 128)

Feeds = dict[str, npt.NDArray[np.float32]]


class Bare(BaseModel):
    """Images a second by batch, for either way; the median milliseconds of one row, and of its PNG file."""

    as_it_comes: dict[int, float]
    a_loop_a_core: dict[int, float]
    row_ms: float
    encode_ms: float

    @property
    def ways(self) -> dict[str, dict[int, float]]:
        """Images a second by batch, by way."""
        return {"as it comes": self.as_it_comes, "a loop a core": self.a_loop_a_core}

    @property
    def best(self) -> float:
        """The most images a second, either way."""
        return max(speed for by_batch in self.ways.values() for speed in by_batch.values())


def measure(generator: Generator, cores: int, seconds: float) -> Bare:
    """For `seconds` at each batch and way."""
    together, alone = _session(generator.path, cores), _session(generator.path, 1)
    feeds = {batch: _feeds(generator.contract, batch) for batch in BATCHES}
    row_seconds = (
        statistics.median(_times(partial(session.run, ["image"], feeds[1]), seconds))
        for session in (together, alone)
    )
    return Bare(
        as_it_comes={batch: _speed([together], feeds[batch], seconds) for batch in BATCHES},
        a_loop_a_core={batch: _speed([alone] * cores, feeds[batch], seconds) for batch in BATCHES},
        row_ms=1e3 * min(row_seconds),
        encode_ms=1e3 * _encoding(generator, alone.run(["image"], feeds[1])[0], seconds / 4),
    )


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _feeds(contract: Contract, batch: int) -> Feeds:
    classes = len(contract.classes)
    return {
        "latent": np.random.default_rng(0).standard_normal((batch, contract.latent.dim), np.float32),
        "label": np.eye(classes, dtype=np.float32)[np.arange(batch) % classes],
    }


def _speed(sessions: list[onnxruntime.InferenceSession], feeds: Feeds, seconds: float) -> float:
    """Images a second of a loop a session, all at the same time."""
    speeds: list[float] = []

    def loop(session: onnxruntime.InferenceSession) -> None:
        times = _times(partial(session.run, ["image"], feeds), seconds)
        speeds.append(len(feeds["latent"]) * len(times) / sum(times))

    threads = [threading.Thread(target=loop, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(speeds)


def _encoding(generator: Generator, images: npt.NDArray[np.uint8], seconds: float) -> float:
    """Seconds to encode one image as the service does."""
    (png,) = (form for form in FORMATS if form.name == "png")
    zeros = np.zeros(1, np.int64)
    one = Generated(
        images, 0, zeros, zeros, generator.contract.classes, generator.reference, generator.digest
    )
    return statistics.median(_times(partial(png.encode, one), seconds))


def _times(run: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each run, of as many as fit, after one that does not count."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or not times:
        run()
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    (found,) = Shelf(Path(sys.argv[1])).list()
    print(measure(found, int(sys.argv[2]), float(sys.argv[3])).model_dump_json())
