"""Has requests computed by the workers, and something made of their images."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from service import metrics
from service.errors import DeviceLost
from service.rows import Images, Rows
from service.shared_cores import SharedCores
from service.workers import BatchFailed, Engine, Job, Work, Workers

T = TypeVar("T")

logger = logging.getLogger(__name__)


class TooLate(Exception):
    """The deadline passed before all rows were computed."""


@dataclass(frozen=True)
class Made(Generic[T]):
    """What was made of the images; how long they waited, and how long their batches took."""

    result: T
    queue_seconds: float
    compute_seconds: float


@dataclass(eq=False)
class _Request(Job):
    make: Callable[[Images], Any]
    quick: bool
    joined: float
    answer: asyncio.Future[Made[Any]]
    at_deadline: asyncio.TimerHandle
    pieces: dict[int, Images] = field(default_factory=dict)
    computed: int = 0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0


class Dispatcher:
    """One device, the generators that share it, and the requests that wait for it.

    `engines` by the name that `make` is called with, each to be run on all `cores` at once, from `start` on.
    With `overlap`, what is quickly made of images is made in the pool `quick` while the device has other
    work; nothing may be in there that takes seconds. What takes long is always made in `pool`.
    Lives on the event loop that it is made on.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        pool: ThreadPoolExecutor,
        quick: ThreadPoolExecutor,
        *,
        cores: SharedCores,
        overlap: bool,
    ) -> None:
        self._pool = pool
        self._quick = quick
        self._overlap = overlap
        self._loop = asyncio.get_running_loop()
        self._requests: set[_Request] = set()
        self._announcing = False
        self._lost: str | None = None
        self._workers: Workers[_Request] = Workers(engines, self._hand_over, cores=cores)

    @property
    def lost(self) -> bool:
        """Whether the device has failed: then nothing is computed any more."""
        return self._lost is not None

    async def start(self) -> None:
        """Warm the engines up.

        Raises EngineError.
        """
        await asyncio.wrap_future(self._workers.start())

    async def make(
        self, generator: str, rows: Rows, deadline: float, make: Callable[[Images], T], *, quick: bool
    ) -> Made[T]:
        """What `make` makes of the rows' images. Rows of a cancelled call that wait are dropped.

        `deadline` is a time of `time.monotonic`. `quick` says that `make` takes less time than a hand-over to
        another thread: otherwise it is called in one. Raises TooLate, BatchFailed, DeviceLost or what `make`
        raises.
        """
        if self._lost:
            raise DeviceLost(self._lost)
        now = time.monotonic()
        answer = self._loop.create_future()
        at_deadline = self._loop.call_later(deadline - now, _fail, answer, TooLate())
        request = _Request(generator, rows, deadline, make, quick, now, answer, at_deadline)
        self._requests.add(request)
        self._workers.join(request)
        if not self._announcing:
            # Once for all requests of this turn of the event loop, which are computed together: to wake a
            # worker for each takes as long as many a generator takes for a row.
            self._announcing = True
            self._loop.call_soon(self._announce)
        try:
            made: Made[T] = await answer
            return made
        finally:
            at_deadline.cancel()
            self._requests.remove(request)
            request.pieces.clear()  # they may still wait to be made something of
            if request.computed < len(rows):
                self._workers.leave(request)

    def close(self) -> None:
        """Wait for the batches that are being computed, and compute no others."""
        self._workers.close()

    def _announce(self) -> None:
        self._announcing = False
        done = self._workers.compute_here()
        if done is None:
            self._workers.wake()
            return
        if self._workers.busy:
            self._workers.wake()
        work, outcome = done
        if isinstance(outcome, np.ndarray):
            self._computed(work, outcome, self._make_quickly(work, outcome))
        else:
            self._give_up(work, outcome)

    def _hand_over(self, work: Work[_Request], outcome: Images | BatchFailed | DeviceLost) -> None:
        """In a worker's thread: have everything that is quickly made of the images made, and told."""
        if not isinstance(outcome, np.ndarray):
            self._tell(self._give_up, work, outcome)
        elif self._overlap and self._workers.busy:
            self._quick.submit(self._finish, work, outcome)
        else:
            self._finish(work, outcome)

    def _finish(self, work: Work[_Request], images: Images) -> None:
        """Make at once what is quickly made of this batch alone, and tell the event loop."""
        self._tell(self._computed, work, images, self._make_quickly(work, images))

    def _make_quickly(self, work: Work[_Request], images: Images) -> Mapping[_Request, "_Outcome"]:
        return {
            cut.request: _outcome(cut.request.make, part)
            for cut, part in work.parts(images)
            if cut.request.quick and len(part) == len(cut.request.rows) and cut.request in self._requests
        }

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        # When the loop is closed nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def _give_up(self, work: Work[_Request], why: BatchFailed | DeviceLost) -> None:
        if isinstance(why, DeviceLost):
            self._lose(why)
        else:
            self._fail_batch(work, why)

    def _lose(self, lost: DeviceLost) -> None:
        """Let nobody wait for a device that computes no more."""
        if self._lost:
            return
        self._lost = str(lost)
        metrics.READY.set(0)
        logger.critical("%s; no more images are made until the service is started again", lost)
        for request in self._requests:
            _fail(request.answer, DeviceLost(self._lost))

    def _fail_batch(self, work: Work[_Request], failed: BatchFailed) -> None:
        self._measure(work)
        for cut in work.batch.cuts:
            _fail(cut.request.answer, failed)

    def _computed(self, work: Work[_Request], images: Images, made: Mapping[_Request, "_Outcome"]) -> None:
        self._measure(work)
        for cut, part in work.parts(images):
            request = cut.request
            if request not in self._requests:
                continue
            request.computed += len(part)
            request.queue_seconds = max(request.queue_seconds, work.cut_at - request.joined)
            request.compute_seconds += work.seconds
            if request.computed == len(request.rows):
                request.at_deadline.cancel()
            if request in made:
                _answer(request, made[request])
            else:
                self._collect(request, cut.start, part)

    def _measure(self, work: Work[_Request]) -> None:
        model = work.batch.generator
        metrics.of(metrics.BATCH_ROWS, model).observe(work.batch.rows)
        metrics.of(metrics.COMPUTE_SECONDS, model).observe(work.seconds)

    def _collect(self, request: _Request, start: int, part: Images) -> None:
        # Several workers may be done in another order than they began.
        request.pieces[start] = part
        if request.computed == len(request.rows) and not request.answer.done():
            pool = self._quick if request.quick else self._pool
            making = self._loop.run_in_executor(pool, _outcome_of_pieces, request)
            making.add_done_callback(lambda done: _answer(request, done.result()))


@dataclass(frozen=True)
class _Raised:
    error: Exception


_Outcome = Any | _Raised


def _outcome(make: Callable[[Images], Any], images: Images) -> _Outcome:
    try:
        return make(images)
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
        return _Raised(error)


def _outcome_of_pieces(request: _Request) -> _Outcome:
    pieces = [images for _, images in sorted(request.pieces.items())]
    if request.answer.done():  # the caller left
        return None
    return _outcome(request.make, pieces[0] if len(pieces) == 1 else np.concatenate(pieces))


def _answer(request: _Request, outcome: _Outcome) -> None:
    if request.answer.done():
        return
    metrics.of(metrics.QUEUE_SECONDS, request.generator).observe(request.queue_seconds)
    if isinstance(outcome, _Raised):
        request.answer.set_exception(outcome.error)
    else:
        request.answer.set_result(Made(outcome, request.queue_seconds, request.compute_seconds))


def _fail(answer: asyncio.Future[Made[Any]], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
