"""Computes the batches that the policy in `batching` cuts, one at a time, off the event loop."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np

from service.batching import Cut, Queue, Waiting, decide, join, leave
from service.rows import Images, Rows, concatenate

logger = logging.getLogger(__name__)


class Engine(Protocol):
    def run(self, rows: Rows) -> Images:
        """The images of at most a batch of rows: uint8 [n, height, width, channels]."""


class QueueFull(Exception):
    """There is no room for the rows; there should be in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full, retry in {retry_after:.1f} s")
        self.retry_after = retry_after


class TooLate(Exception):
    """The deadline passed before all rows were computed."""


class BatchFailed(Exception):
    """The generator failed on a batch with rows of the request."""


@dataclass(frozen=True)
class _Request:
    rows: Rows
    answer: asyncio.Future[Images]
    pieces: list[Images] = field(default_factory=list)


class Dispatcher:
    """One device, the generators that share it, and the requests that wait for it.

    `engines` by the name that `images` is called with; at most `queue_rows` rows wait. Lives on the event
    loop that it is made on.
    """

    def __init__(self, engines: Mapping[str, Engine], *, max_batch: int, queue_rows: int) -> None:
        self._engines = engines
        self._max_batch = max_batch
        self._queue_rows = queue_rows
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._queue = Queue()
        self._requests: dict[int, _Request] = {}
        self._ids = count()
        self._in_flight = 0
        self._seconds_per_row: dict[str, float] = {}

    async def images(self, generator: str, rows: Rows, deadline: float) -> Images:
        """The images of the rows: uint8 [n, height, width, channels]. Rows of a cancelled call are dropped.

        `deadline` is a time of the event loop. Raises QueueFull, TooLate or BatchFailed.
        """
        excess = self._queue.rows + len(rows) - self._queue_rows
        if excess > 0:
            raise QueueFull(self._seconds_to_drain(excess))
        request = next(self._ids)
        self._requests[request] = _Request(rows, self._loop.create_future())
        self._queue = join(self._queue, Waiting(request, generator, len(rows), len(rows), deadline))
        at_deadline = self._loop.call_at(deadline, self._advance)
        try:
            self._advance()
            return await self._requests[request].answer
        finally:
            at_deadline.cancel()
            del self._requests[request]
            self._queue = leave(self._queue, request)
            self._advance()

    def close(self) -> None:
        """Wait for the batch in flight, and compute no other."""
        self._thread.shutdown(cancel_futures=True)

    def _advance(self) -> None:
        decision, self._queue = decide(self._queue, self._loop.time(), self._in_flight, self._max_batch)
        for request in decision.drop:
            self._fail(request, TooLate())
        if decision.generator is not None:
            self._in_flight += 1
            rows = [self._requests[cut.id].rows[cut.start : cut.stop] for cut in decision.batch]
            computing = self._loop.run_in_executor(
                self._thread, _timed, self._engines[decision.generator], rows
            )
            computing.add_done_callback(partial(self._computed, decision.generator, decision.batch))

    def _computed(
        self, generator: str, batch: Sequence[Cut], computing: asyncio.Future[tuple[Images, float]]
    ) -> None:
        self._in_flight -= 1
        try:
            images, seconds = computing.result()
        except Exception:
            logger.exception(
                "%s failed on a batch of %d rows", generator, sum(cut.stop - cut.start for cut in batch)
            )
            for cut in batch:
                self._fail(cut.id, BatchFailed())
        else:
            self._measure(generator, seconds / len(images))
            self._hand_out(images, batch)
        self._advance()

    def _hand_out(self, images: Images, batch: Sequence[Cut]) -> None:
        first = 0
        for cut in batch:
            after = first + cut.stop - cut.start
            if request := self._requests.get(cut.id):
                request.pieces.append(images[first:after])
                if cut.stop == len(request.rows) and not request.answer.done():
                    pieces = request.pieces
                    request.answer.set_result(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
            first = after

    def _fail(self, request: int, error: Exception) -> None:
        self._queue = leave(self._queue, request)
        if (known := self._requests.get(request)) and not known.answer.done():
            known.answer.set_exception(error)

    def _measure(self, generator: str, seconds: float) -> None:
        before = self._seconds_per_row.get(generator, seconds)
        self._seconds_per_row[generator] = 0.8 * before + 0.2 * seconds

    def _seconds_to_drain(self, rows: int) -> float:
        """How long the device takes for that many of the rows that wait, going by the latest batches."""
        waiting = sum(w.left * self._seconds_per_row.get(w.generator, 0) for w in self._queue.waiting)
        return waiting * min(1, rows / max(1, self._queue.rows))


def _timed(engine: Engine, parts: Sequence[Rows]) -> tuple[Images, float]:
    began = time.perf_counter()
    images = engine.run(concatenate(parts))
    return images, time.perf_counter() - began
