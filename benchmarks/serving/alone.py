"""Ganserve by itself: beside a bulk caller, under far too much load, and with nothing to do."""

import time
from dataclasses import dataclass

from benchmarks.serving.load import Load
from benchmarks.serving.questions import Question, npz
from benchmarks.serving.rounds import WARM_UP, loaded, warm_up
from benchmarks.serving.servers import FASTAPI_NOOP, GANSERVE, NOOP_PATH, Server, ganserve_body
from benchmarks.serving.start import started
from models.shelf import Generator

BULK = 256
TOO_MUCH = 10
PAUSE_MS = 200
SINGLE_CALLERS = 16
NOOP_CONNECTIONS = 64

_BULK = Question("/generate", ganserve_body(n=BULK, format='"npz"'), BULK, npz)
_FASTAPI = Server(
    name="FastAPI, a no-op, a process a core",
    setup="",
    command=FASTAPI_NOOP,
    ready="/",
    picture=GANSERVE.picture,
    arrays=GANSERVE.arrays,
    environment="fastapi",
    package="fastapi",
)


@dataclass(frozen=True)
class Fairness:
    """p99 of single-image callers in milliseconds, without and with a caller of 256 images at a time."""

    p99_alone_ms: float
    p99_beside_bulk_ms: float

    @property
    def ratio(self) -> float:
        return self.p99_beside_bulk_ms / self.p99_alone_ms


@dataclass(frozen=True)
class Overload:
    """Images a second: the most that are served, those served under far too much load, those refused then.

    `errors` are answers other than 200 and 503 with Retry-After, and broken connections.
    """

    peak: float
    served: float
    refused: float
    errors: int

    @property
    def offered(self) -> float:
        """How many times the peak was asked for."""
        return (self.served + self.refused) / self.peak

    @property
    def ratio(self) -> float:
        return self.served / self.peak


@dataclass(frozen=True)
class Noop:
    """Requests a second that a process a core answers without any work."""

    ganserve: float
    fastapi: float

    @property
    def ratio(self) -> float:
        return self.ganserve / self.fastapi


def fairness(generator: Generator, seconds: int) -> Fairness:
    """Raises Failure."""
    with started(GANSERVE, generator.path) as running:
        warm_up(running, GANSERVE.picture)
        warm_up(running, _BULK)
        with loaded(running, GANSERVE.picture, SINGLE_CALLERS, seconds) as singles:
            alone = singles.outcome()
        with loaded(running, _BULK, 1, seconds + WARM_UP):
            time.sleep(WARM_UP / 2)  # so that the bulk caller is there from the first to the last
            with loaded(running, GANSERVE.picture, SINGLE_CALLERS, seconds) as singles:
                beside = singles.outcome()
    return Fairness(alone.p99_ms, beside.p99_ms)


def overload(generator: Generator, seconds: int) -> Overload:
    """Bulk callers who pause a little after each answer, and pay no heed to Retry-After.

    Raises Failure.
    """
    with started(GANSERVE, generator.path) as running:
        warm_up(running, _BULK)
        with loaded(running, _BULK, 3, seconds + WARM_UP, WARM_UP) as load:
            peak = BULK * load.outcome().good
        waiting = 3  # whose rows fill the queue
        pausing = round(TOO_MUCH * peak / BULK * PAUSE_MS / 1e3)
        with Load(
            running.url + _BULK.path,
            _BULK.body,
            connections=waiting + pausing,
            seconds=seconds + WARM_UP,
            pause_ms=PAUSE_MS,
            after=WARM_UP,
        ) as load:
            outcome = load.outcome()
    return Overload(
        peak=peak, served=BULK * outcome.good, refused=BULK * outcome.refused, errors=outcome.errors
    )


def noop(generator: Generator, seconds: int) -> Noop:
    """Raises Failure."""
    rates = []
    for server, path in ((GANSERVE, NOOP_PATH), (_FASTAPI, "/")):
        with started(server, generator.path) as running:
            for duration in (WARM_UP, seconds):
                with Load(running.url + path, "", connections=NOOP_CONNECTIONS, seconds=duration) as load:
                    rate = load.outcome().good
            rates.append(rate)
    return Noop(*rates)
