"""What the service counts and measures, for Prometheus at GET /metrics.

Labels have few values: `model` is one of the shelf, `route` and `status` one of ours, never a path that a
client made up. Times are in seconds. Several processes keep their values in files of one folder, so that
each tells those of all.
"""

import atexit
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from models.shelf import Generator
from service import METRICS_FOLDER, __version__

M = TypeVar("M", Counter, Gauge, Histogram)

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
READY = Gauge("ganserve_ready", "1 while GET /readyz answers 200.", multiprocess_mode="livemin")

REQUESTS = Counter("ganserve_requests", "Requests answered.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "ganserve_request_seconds",
    "From the head of a request to the end of its answer.",
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
    "Images accepted and not yet answered; GANSERVE_QUEUE_ROWS bounds those of a process.",
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


def share() -> None:
    """In BentoML's supervisor: let the processes that it starts share their values, until it ends."""
    folder = tempfile.mkdtemp(prefix="ganserve-metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[METRICS_FOLDER] = folder


def forget_the_dead() -> None:
    """Count no gauge of a process that has ended."""
    for file in Path(os.environ.get(METRICS_FOLDER, os.devnull)).glob("gauge_live*_*.db"):
        pid = int(re.findall(r"\d+", file.stem)[-1])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def registry() -> CollectorRegistry:
    """What to tell: of all processes that share their values, or of this one."""
    if METRICS_FOLDER not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared
