"""Computes the batches that the policy in `batching` cuts, in threads of their own.

A thread cuts the next batch the moment it has computed the last, whatever the event loop is busy with, so
that the device never waits for HTTP.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from service import metrics
from service.batching import Batch, Cut, Queue
from service.errors import DeviceLost
from service.rows import Images, Rows, concatenate

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Engine(Protocol):
    def warm_up(self) -> None:
        """Make ready to run. Raises EngineError."""

    def run(self, rows: Rows) -> Images:
        """The images of at most a batch of rows: uint8 [n, height, width, channels]. Raises DeviceLost."""


class TooLate(Exception):
    """The deadline passed before all rows were computed."""


class BatchFailed(Exception):
    """The generator failed on a batch with rows of the request."""


@dataclass(frozen=True)
class Made(Generic[T]):
    """What was made of the images; how long they waited, and how long their batches took."""

    result: T
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True)
class _Request:
    rows: Rows
    make: Callable[[Images], Any]
    quick: bool
    joined: float
    answer: asyncio.Future[Made[Any]]
    at_deadline: asyncio.TimerHandle | None = None
    pieces: dict[int, Images] = field(default_factory=dict)
    computed: int = 0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Work:
    """A batch that left the queue at the time `cut_at`, and the rows of its cuts."""

    batch: Batch
    rows: Sequence[Rows]
    cut_at: float

    def parts(self, images: Images) -> Iterator[tuple[Cut, Images]]:
        """The cuts with their images, of those of the batch."""
        first = 0
        for cut in self.batch.cuts:
            after = first + cut.stop - cut.start
            yield cut, images[first:after]
            first = after


@dataclass(frozen=True, slots=True)
class _Join:
    """A request for the queue."""

    id: int
    generator: str
    rows: Rows
    deadline: float


@dataclass(frozen=True, slots=True)
class _Leave:
    """A request that is over, however many of its rows wait."""

    id: int


class Dispatcher:
    """One device, the generators that share it, and the requests that wait for it.

    `engines` by the name that `make` is called with, each to be run by `workers` threads at once, from
    `start` on. While the device has other work, what is made of images is made in the `pool`. Lives on the
    event loop that it is made on.
    """

    def __init__(
        self, engines: Mapping[str, Engine], pool: ThreadPoolExecutor, *, max_batch: int, workers: int = 1
    ) -> None:
        self._engines = engines
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._requests: dict[int, _Request] = {}
        self._ids = count()
        # What the event loop has for the workers, in order. They are woken once for all news of a turn of it:
        # to wake one for each request takes as long as many a generator takes for a row.
        self._news: deque[_Join | _Leave] = deque()
        self._announcing = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        # The workers' own, under a lock that the event loop never waits for while it serves.
        self._policy = threading.Lock()
        self._queue = Queue(max_batch)
        self._rows: dict[int, Rows] = {}
        self._idle = workers
        self._closing = False
        self._lost: str | None = None
        self._warm = self._loop.create_future()
        for generator in engines:
            metrics.QUEUE_ROWS.labels(generator).set_function(partial(self._waiting, generator))
        self._threads = [
            threading.Thread(target=target, name=f"engine-{i}", daemon=True)
            for i, target in enumerate([self._warm_up, *[self._compute_all] * (workers - 1)])
        ]

    @property
    def lost(self) -> bool:
        """Whether the device has failed: then nothing is computed any more."""
        return self._lost is not None

    @property
    def remembered(self) -> int:
        """How many requests are known, in whatever state."""
        return len(self._requests.keys() | self._rows.keys())

    async def start(self) -> None:
        """Warm the engines up, on a thread that runs them: a GPU keeps captured graphs by thread.

        Raises EngineError.
        """
        first, *others = self._threads
        first.start()
        await self._warm
        for thread in others:
            thread.start()

    async def make(
        self, generator: str, rows: Rows, deadline: float, make: Callable[[Images], T], *, quick: bool
    ) -> Made[T]:
        """What `make` makes of the rows' images. Rows of a cancelled call that wait are dropped.

        `deadline` is a time of `time.monotonic`. `make` is called in another thread; `quick` says that it
        takes less time than a hand-over. Raises TooLate, BatchFailed, DeviceLost or what `make` raises.
        """
        if self._lost:
            raise DeviceLost(self._lost)
        now = time.monotonic()
        id_ = next(self._ids)
        request = self._requests[id_] = _Request(rows, make, quick, now, self._loop.create_future())
        self._news.append(_Join(id_, generator, rows, deadline))
        if not self._announcing:
            self._announcing = True
            self._loop.call_soon(self._announce)
        request.at_deadline = self._loop.call_later(deadline - now, _fail, request, TooLate())
        try:
            return await request.answer
        finally:
            request.at_deadline.cancel()
            del self._requests[id_]
            if request.computed < len(rows):
                self._news.append(_Leave(id_))

    def close(self) -> None:
        """Wait for the batches that are being computed, and compute no others."""
        self._closing = True
        self._wake_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _announce(self) -> None:
        self._announcing = False
        if self._wake.empty():  # whoever takes the one that is there takes in these news, too
            self._wake.put(None)

    def _wake_all(self) -> None:
        for _ in self._threads:
            self._wake.put(None)

    def _waiting(self, generator: str) -> int:
        with self._policy:
            return self._queue.rows(generator)

    def _warm_up(self) -> None:
        error: Exception | None = None
        try:
            for engine in self._engines.values():
                engine.warm_up()
        except Exception as failed:  # noqa: BLE001 - it is raised where the start is awaited
            error = failed
        self._tell(_settle, self._warm, error)
        if error is None:
            self._compute_all()

    def _compute_all(self) -> None:
        while not self._closing:
            work, others = self._next()
            if work is None:
                self._wake.get()
                continue
            if others:
                self._wake.put(None)
            self._compute(work)
            with self._policy:
                self._idle += 1

    def _next(self) -> tuple[_Work | None, bool]:
        """What to compute now, if anything waits, and whether that leaves work for a worker that sleeps."""
        with self._policy:
            while self._news:
                self._take_in(self._news.popleft())
            now = time.monotonic()
            batch = self._queue.cut(now, self._idle)
            if batch is None:
                return None, False
            self._idle -= 1
            rows = [self._rows[cut.id][cut.start : cut.stop] for cut in batch.cuts]
            for cut in batch.cuts:
                if cut.stop == len(self._rows[cut.id]):
                    del self._rows[cut.id]
            return _Work(batch, rows, now), self._idle > 0 and not self._queue.empty

    def _take_in(self, news: _Join | _Leave) -> None:
        if isinstance(news, _Join):
            self._rows[news.id] = news.rows
            self._queue.join(news.id, news.generator, len(news.rows), news.deadline)
        else:
            self._rows.pop(news.id, None)
            self._queue.leave(news.id)

    def _compute(self, work: _Work) -> None:
        images: Images | None = None
        try:
            images = self._engines[work.batch.generator].run(concatenate(work.rows))
        except DeviceLost as lost:
            self._lose(lost)
            return
        except Exception:
            logger.exception(
                "%s failed on a batch of %d rows", work.batch.generator, sum(map(len, work.rows))
            )
            with self._policy:
                for cut in work.batch.cuts:
                    self._take_in(_Leave(cut.id))
        seconds = time.monotonic() - work.cut_at
        if images is None or (self._queue.empty and not self._news):
            self._finish(work, images, seconds)
        else:
            self._pool.submit(self._finish, work, images, seconds)

    def _finish(self, work: _Work, images: Images | None, seconds: float) -> None:
        """Make at once what is quickly made of this batch alone, and tell the event loop."""
        made: dict[int, _Outcome] = {}
        if images is not None:
            for cut, part in work.parts(images):
                request = self._requests.get(cut.id)
                if request and request.quick and len(part) == len(request.rows):
                    made[cut.id] = _outcome(request.make, part)
        self._tell(self._computed, work, images, seconds, made)

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        # When the loop is closed nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def _lose(self, lost: DeviceLost) -> None:
        """Compute no more, and let nobody wait for it."""
        with self._policy:
            if self._lost:
                return
            self._lost = str(lost)
            self._closing = True
        self._wake_all()
        logger.critical("%s; no more images are made until the service is started again", lost)
        self._tell(self._fail_all)

    def _fail_all(self) -> None:
        for request in self._requests.values():
            _fail(request, DeviceLost(self._lost))

    def _computed(
        self, work: _Work, images: Images | None, seconds: float, made: Mapping[int, "_Outcome"]
    ) -> None:
        model = work.batch.generator
        metrics.of(metrics.BATCH_ROWS, model).observe(sum(map(len, work.rows)))
        metrics.of(metrics.COMPUTE_SECONDS, model).observe(seconds)
        if images is None:
            for cut in work.batch.cuts:
                if request := self._requests.get(cut.id):
                    _fail(request, BatchFailed())
            return
        for cut, part in work.parts(images):
            if request := self._requests.get(cut.id):
                request.computed += len(part)
                request.queue_seconds = max(request.queue_seconds, work.cut_at - request.joined)
                request.compute_seconds += seconds
                if request.computed == len(request.rows) and request.at_deadline:
                    request.at_deadline.cancel()
                if cut.id in made:
                    self._answer(model, request, made[cut.id])
                else:
                    self._collect(model, request, cut.start, part)

    def _collect(self, model: str, request: _Request, start: int, part: Images) -> None:
        # Several workers may be done in another order than they began.
        request.pieces[start] = part
        if request.computed == len(request.rows) and not request.answer.done():
            pieces = [request.pieces[start] for start in sorted(request.pieces)]
            making = self._loop.run_in_executor(self._pool, _outcome_of_pieces, request.make, pieces)
            making.add_done_callback(lambda done: self._answer(model, request, done.result()))

    def _answer(self, model: str, request: _Request, outcome: "_Outcome") -> None:
        if request.answer.done():
            return
        metrics.of(metrics.QUEUE_SECONDS, model).observe(request.queue_seconds)
        if isinstance(outcome, _Raised):
            request.answer.set_exception(outcome.error)
        else:
            request.answer.set_result(Made(outcome, request.queue_seconds, request.compute_seconds))


@dataclass(frozen=True)
class _Raised:
    error: Exception


_Outcome = Any | _Raised


def _outcome(make: Callable[[Images], Any], images: Images) -> _Outcome:
    try:
        return make(images)
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
        return _Raised(error)


def _outcome_of_pieces(make: Callable[[Images], Any], pieces: Sequence[Images]) -> _Outcome:
    return _outcome(make, pieces[0] if len(pieces) == 1 else np.concatenate(pieces))


def _settle(warm: asyncio.Future[None], error: Exception | None) -> None:
    if warm.done():  # nobody waits for it any more
        return
    if error:
        warm.set_exception(error)
    else:
        warm.set_result(None)


def _fail(request: _Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
