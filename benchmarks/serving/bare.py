"""The limit: `session.run` with nothing around it, as JSON.

    python -m benchmarks.serving.bare <shelf> <seconds>

Images a second at several batches, and the median milliseconds of one row and of encoding it as a PNG file.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from models.shelf import Generator, Shelf
from service import latents
from service.encoding import FORMATS, Generated
from service.engine import Engine
from service.rows import Rows
from service.settings import Settings

BATCHES = (1, 8, 16, 32, 64, 128)


class Bare(BaseModel):
    """`images_per_second` by batch; the others are medians."""

    images_per_second: dict[int, float]
    row_ms: float
    encode_ms: float


def measure(generator: Generator, seconds: float) -> Bare:
    """For about `seconds` at each batch, on the threads that the service takes."""
    engine = Engine(generator, threads=Settings().threads, max_batch=max(BATCHES))
    rows = _rows(generator, max(BATCHES))
    speeds = {}
    for batch in BATCHES:
        part = rows[:batch]
        times = _times(lambda part=part: engine.run(part), seconds)
        speeds[batch] = batch / statistics.mean(times)
    one = rows[:1]
    images = engine.run(one)
    generated = Generated(
        images, 0, np.zeros(1, np.int64), one.labels, generator.contract.classes, generator.reference, ""
    )
    (png,) = (form for form in FORMATS if form.name == "png")
    return Bare(
        images_per_second=speeds,
        row_ms=1e3 * statistics.median(_times(lambda: engine.run(one), seconds)),
        encode_ms=1e3 * statistics.median(_times(lambda: png.encode(generated), seconds / 4)),
    )


def _rows(generator: Generator, n: int) -> Rows:
    contract = generator.contract
    drawn = latents.words(seed=0, start=0, n=n, dim=contract.latent.dim)
    z = latents.latents(drawn, contract.latent.distribution)
    return Rows(z, latents.classes(drawn, len(contract.classes)))


def _times(run: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each of the runs that fit, after one that does not count."""
    run()
    times = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        run()
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    (found,) = Shelf(Path(sys.argv[1])).list()
    print(measure(found, float(sys.argv[2])).model_dump_json())
