"""What the service counts and measures, for Prometheus at GET /metrics.

Labels have few values: `model` is one of the shelf, `route` and `status` one of ours, never a path that a
client made up. Times are in seconds. Several processes keep their values in files of one folder, so that
each tells those of all.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from models.shelf import Generator
from service import __version__, shared
from service.failure import fail

M = TypeVar("M", Counter, Gauge, Histogram)

# The files that the values of several processes are in, and their bytes. Where the disk filled up later, the
# kernel would end the process that touches a new page of them.
_FILES = {
    "counter": 2**18,
    "histogram": 2**20,
    "gauge_livemax": 2**16,
    "gauge_livemin": 2**16,
    "gauge_livesum": 2**18,
}


def _reserve(place: Path) -> None:
    """Take over the files of one that died, with what it has counted; where there are none, make new ones."""
    _forget_the_dead(place)
    for name, size in _FILES.items():
        own = place / f"{name}_{os.getpid()}.db"
        if not any(_renamed(file, own) for file in _of_the_dead(place, name)):
            file = own.with_suffix("")
            with file.open("wb") as opened:
                opened.write(bytes(size))
            file.rename(own)  # whoever reads meanwhile reads a whole one


def _forget_the_dead(place: Path) -> None:
    """Count no gauge of a process that has ended."""
    for file in _of_the_dead(place, "gauge_live*"):
        file.unlink(missing_ok=True)


def _of_the_dead(place: Path, name: str) -> list[Path]:
    return [
        file for file in place.glob(f"{name}_*.db") if not shared.lives(int(file.stem.rpartition("_")[2]))
    ]


def _renamed(file: Path, own: Path) -> bool:
    try:
        file.rename(own)
    except FileNotFoundError:  # another process was quicker
        return False
    return True


if (_place := shared.folder()) is not None:
    try:
        _reserve(_place)
    except OSError as error:
        fail()
        sys.exit(
            f"ganserve: metrics cannot be kept in {_place} ({error.strerror}); they take "
            f"{sum(_FILES.values()) / 2**20:.1f} MiB a process there: make room, or set TMPDIR"
        )

# From the shortest answers to the longest that the default timeout allows.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

BUILD = Gauge(
    "ganserve_build_info",
    "1, with the versions that serve, and the device.",
    ["version", "python", "bentoml", "onnxruntime", "device"],
    multiprocess_mode="livemax",
)
MODEL = Gauge(
    "ganserve_model",
    "1 for each generator that is served, with its digest.",
    ["model", "digest"],
    multiprocess_mode="livemax",
)
PROCESSES = Gauge("ganserve_processes", "The processes that serve.", multiprocess_mode="livesum")
READY = Gauge(
    "ganserve_ready", "1 while every process that has begun to load is ready.", multiprocess_mode="livemin"
)

REQUESTS = Counter("ganserve_requests", "Requests answered.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "ganserve_request_seconds",
    "From the head of a request until the last of its answer is handed to the connection.",
    ["route"],
    buckets=_SECONDS,
)
REQUESTS_IN_PROGRESS = Gauge(
    "ganserve_requests_in_progress", "Requests being answered.", ["route"], multiprocess_mode="livesum"
)

LOG_LINES_LOST = Counter("ganserve_log_lines_lost", "Lines of the log that could not be written.")

ROWS = Counter(
    "ganserve_rows",
    "Images asked for, by outcome: served, refused (no room), dropped (the client left, or the time was up), "
    "failed (in computing).",
    ["model", "outcome"],
)
ROWS_IN_PROGRESS = Gauge(
    "ganserve_rows_in_progress",
    "Images accepted and not yet encoded; GANSERVE_QUEUE_ROWS bounds those of a process.",
    multiprocess_mode="livesum",
)
QUEUE_ROWS = Gauge(
    "ganserve_queue_rows", "Images that wait to be computed.", ["model"], multiprocess_mode="livesum"
)
QUEUE_SECONDS = Histogram(
    "ganserve_queue_seconds",
    "How long a request waited until its last image was in a batch.",
    ["model"],
    buckets=_SECONDS,
)
BATCH_ROWS = Histogram("ganserve_batch_rows", "Images in a batch, without padding.", ["model"], buckets=_ROWS)
PADDING_ROWS = Counter(
    "ganserve_padding_rows", "Rows that were computed only to fill a batch's bucket.", ["model"]
)
COMPUTE_SECONDS = Histogram(
    "ganserve_compute_seconds", "How long a batch was computed.", ["model"], buckets=_SECONDS
)
ENCODE_SECONDS = Histogram(
    "ganserve_encode_seconds",
    "How long the images of a request were encoded.",
    ["model", "format"],
    buckets=_SECONDS,
)


@cache
def of(metric: M, *labels: object) -> M:
    """The metric with these values of its labels, found faster than by `labels`."""
    return metric.labels(*labels)


def describe(generators: Iterable[Generator], device: str) -> None:
    """Set what does not change while the process runs."""
    import onnxruntime  # noqa: PLC0415 - BentoML's supervisor imports this module too, and needs no runtime

    BUILD.labels(
        __version__, platform.python_version(), version("bentoml"), onnxruntime.__version__, device
    ).set(1)
    for generator in generators:
        MODEL.labels(generator.reference, generator.digest).set(1)
    PROCESSES.set(1)


def registry() -> CollectorRegistry:
    """What to tell: of all processes that share their values, or of this one."""
    if (place := shared.folder()) is None:
        return REGISTRY
    _forget_the_dead(place)
    of_all = CollectorRegistry()
    _Collector(of_all)  # type: ignore[no-untyped-call]
    return of_all


class _Collector(MultiProcessCollector):
    def collect(self) -> Any:
        while True:
            # One that takes the place of another may just have renamed a file.
            with contextlib.suppress(FileNotFoundError):
                return super().collect()  # type: ignore[no-untyped-call]
