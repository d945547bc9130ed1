"""Computes the batches which the policy in `batching` cuts, mostly in threads.

Each of these cuts the next batch the moment it has computed the last, whatever the event loop is busy with,
so that the device never waits for HTTP.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from service import metrics
from service.batching import Batch, BatchSize, Cut, Queue
from service.errors import DeviceLost
from service.rows import Images, Rows, concatenate
from service.shared_cores import SharedCores

logger = logging.getLogger(__name__)

# So many seconds a worker sleeps that watches for a free core: another process, which frees it, wakes nobody.
FREED = 0.005


class Engine(Protocol):
    @property
    def size(self) -> BatchSize:
        """How many rows it is to be given at once."""

    @property
    def brief(self) -> int:
        """How many rows are computed sooner where they are asked for than in a worker; none on a GPU."""

    @property
    def brief_alone(self) -> int:
        """The same while nothing else is computed."""

    def warm_up(self) -> None:
        """Make ready to run. Raises EngineError."""

    def run(self, rows: Rows, *, alone: bool) -> Images:
        """The images of at most a batch of rows: uint8 [n, height, width, channels]. Raises DeviceLost.

        `alone` says that nothing else is computed.
        """


class BatchFailed(Exception):
    """The generator failed on a batch with rows of the request."""


@dataclass(eq=False)
class Job:
    """Rows for a generator, worth computing before `deadline`, a time of `time.monotonic`."""

    generator: str
    rows: Rows
    deadline: float


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Work(Generic[J]):
    """A batch that left the queue at the time `cut_at`, and was computed in so many `seconds`."""

    batch: Batch[J]
    cut_at: float
    seconds: float

    def parts(self, images: Images) -> Iterator[tuple[Cut[J], Images]]:
        """The cuts with their images, of those of the batch."""
        first = 0
        for cut in self.batch.cuts:
            after = first + cut.stop - cut.start
            yield cut, images[first:after]
            first = after


class Workers(Generic[J]):
    """A thread for each of the `cores`, which run `engines`, by name, on the rows of jobs.

    Each batch of theirs is given to `computed`, in the thread that computed it, with its images or else
    BatchFailed or DeviceLost, after which there are no others. The methods are for one thread, the jobs' own.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        computed: Callable[[Work[J], Images | BatchFailed | DeviceLost], None],
        *,
        cores: SharedCores,
    ) -> None:
        self._engines = engines
        self._computed = computed
        # Jobs, and whether they join the queue or leave it, in order.
        self._news: deque[tuple[J, bool]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Held for the queue and the cores.
        self._policy = threading.Lock()
        self._queue: Queue[J] = Queue(self._size)
        self._shown: dict[str, int] = {}
        self._cores = cores
        self._watched = False
        self._closing = False
        self._warm: Future[None] = Future()
        self._threads = [
            threading.Thread(target=target, name=f"engine-{i}", daemon=True)
            for i, target in enumerate([self._warm_up, *[self._compute_all] * (cores.count - 1)])
        ]

    def start(self) -> Future[None]:
        """Warm the engines up, on a thread that runs them: a GPU keeps captured graphs by thread.

        Done when they are warm, or with EngineError.
        """
        self._threads[0].start()
        return self._warm

    def join(self, job: J) -> None:
        """Have the job computed, from the next `wake` on at the latest."""
        self._news.append((job, True))

    def leave(self, job: J) -> None:
        """Compute no more of the job."""
        self._news.append((job, False))

    def wake(self) -> None:
        """Let a worker that sleeps see what is new."""
        if self._wake.empty():  # whoever takes the one that is there takes in these news, too
            self._wake.put(None)

    def compute_here(self) -> tuple[Work[J], Images | BatchFailed | DeviceLost] | None:
        """Compute a batch of what waits in this thread, where no worker computes and it is brief, or None."""
        now = time.monotonic()
        with self._policy:
            if self._closing or self._cores.computing:
                return None
            self._hear()
            alone = self._cores.free == self._cores.count
            batch = self._queue.cut(now) if self._brief(alone=alone) else None
            self._show_queue()
            if batch is None:
                return None
            self._cores.computing += 1
        try:
            outcome = self._compute(batch, alone=alone)
        finally:
            with self._policy:
                self._cores.computing -= 1
        return Work(batch, now, time.monotonic() - now), outcome

    @property
    def busy(self) -> bool:
        """Whether jobs wait, or may."""
        return bool(self._queue or self._news)

    def close(self) -> None:
        """Wait for the batches that are being computed, and compute no others."""
        self._stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _stop(self) -> None:
        self._closing = True
        for _ in self._threads:
            self._wake.put(None)

    def _warm_up(self) -> None:
        self._warm.set_running_or_notify_cancel()
        try:
            for engine in self._engines.values():
                engine.warm_up()
        except Exception as error:  # noqa: BLE001 - it is raised where the start is awaited
            self._warm.set_exception(error)
            return
        for thread in self._threads[1:]:
            thread.start()
        self._warm.set_result(None)
        self._compute_all()

    def _compute_all(self) -> None:
        while not self._closing:
            now = time.monotonic()
            batch, alone, others = self._next(now)
            if batch is None:
                self._sleep()
                continue
            if others:
                self.wake()
            outcome = self._compute(batch, alone=alone)
            self._computed(Work(batch, now, time.monotonic() - now), outcome)
            with self._policy:
                self._cores.computing -= 1

    def _next(self, now: float) -> tuple[Batch[J] | None, bool, bool]:
        """What to compute now, if anything waits; whether it is alone, and leaves work to who sleeps."""
        with self._policy:
            self._hear()
            # A batch that had to share a core with another would only make both late.
            free = self._cores.free
            batch = self._queue.cut(now, free) if free else None
            self._show_queue()
            if batch is None:
                return None, False, False
            left = bool(self._queue)
            self._cores.computing += 1
            return batch, free == self._cores.count and not left, left and (free > 1 or not self._watched)

    def _sleep(self) -> None:
        with self._policy:
            # One is enough: others would only take each other's time.
            watches = bool(self._queue) and not self._watched
            self._watched |= watches
        with contextlib.suppress(Empty):
            self._wake.get(timeout=FREED if watches else None)
        if watches:
            self._watched = False

    def _hear(self) -> None:
        while self._news:
            job, joins = self._news.popleft()
            if joins:
                self._queue.join(job, job.generator, len(job.rows), job.deadline)
            else:
                self._queue.leave(job)

    def _brief(self, *, alone: bool) -> bool:
        waiting = [
            (engine, rows) for name, engine in self._engines.items() if (rows := self._queue.rows(name))
        ]
        if len(waiting) != 1:
            return False
        ((engine, rows),) = waiting
        return rows <= (engine.brief_alone if alone else engine.brief)

    def _compute(self, batch: Batch[J], *, alone: bool) -> Images | BatchFailed | DeviceLost:
        try:
            rows = concatenate([cut.request.rows[cut.start : cut.stop] for cut in batch.cuts])
            return self._engines[batch.generator].run(rows, alone=alone)
        except DeviceLost as lost:
            self._stop()
            with self._policy:
                self._queue = Queue(self._size)
                self._show_queue()
            return lost
        except Exception:
            logger.exception("%s failed on a batch of %d rows", batch.generator, batch.rows)
            with self._policy:
                for cut in batch.cuts:
                    self._queue.leave(cut.request)
            return BatchFailed()

    def _size(self, generator: str) -> BatchSize:
        return self._engines[generator].size

    def _show_queue(self) -> None:
        for generator in self._engines:
            if (rows := self._queue.rows(generator)) != self._shown.get(generator):
                metrics.of(metrics.QUEUE_ROWS, generator).set(rows)
                self._shown[generator] = rows
