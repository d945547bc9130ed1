"""Which rows are computed next: no clock, no threads, no I/O; what is decided follows from the calls alone.

The unit is the row, not the request. A batch is cut when the device asks for one, never earlier and never
later. A request of more rows than a batch takes turns of a quarter of a batch, and goes to the back of the
queue after each, so that it cannot starve small requests; room that is left goes to whoever waits, in order,
as far as a fuller batch is worth the time that whoever comes meanwhile waits for it.
Generators have the device in turn: the one that had it longest ago is next. Nobody's rows are computed who
left or whose time is up.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

R = TypeVar("R", bound=Hashable)

# In a batch of fewer rows, a row takes longer.
WORTH_SHARING = 8


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many rows of a generator make a batch: at most `most`.

    Requests of more have a quarter of that in turn. Room that is left they fill up to `fill`, beyond which a
    fuller batch is hardly faster.
    """

    most: int
    fill: int


@dataclass(slots=True)
class _Waiting:
    """A request with rows to compute: `rows` in all, of which the last `left` are in no batch yet."""

    rows: int
    left: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Cut(Generic[R]):
    """The rows [start, stop) of a request."""

    request: R
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Batch(Generic[R]):
    """Rows to compute together."""

    generator: str
    cuts: tuple[Cut[R], ...]

    @property
    def rows(self) -> int:
        return sum(cut.stop - cut.start for cut in self.cuts)


class Queue(Generic[R]):
    """The requests that wait, by generator and in order. No call takes longer when the queue is long.

    `size` gives that of the batches of a generator.
    """

    def __init__(self, size: Callable[[str], BatchSize]) -> None:
        self._size = size
        # The generator that had the device longest ago is first.
        self._waiting: dict[str, dict[R, _Waiting]] = {}
        self._generators: dict[R, str] = {}
        self._rows: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._generators)

    def join(self, request: R, generator: str, rows: int, deadline: float) -> None:
        """Put the rows of a request at the back; they are worth computing before `deadline` only."""
        if generator not in self._waiting:
            self._waiting = {generator: {}, **self._waiting}
        self._waiting[generator][request] = _Waiting(rows, rows, deadline)
        self._generators[request] = generator
        self._rows[generator] += rows

    def leave(self, request: R) -> None:
        """Take out the rows of a request that wait, if there are any."""
        if (generator := self._generators.pop(request, None)) is not None:
            self._rows[generator] -= self._waiting[generator].pop(request).left

    def cut(self, now: float, idle: int = 1) -> Batch[R] | None:
        """The batch to compute at the time `now`, which leaves the queue; None when nobody waits.

        It leaves the others of the `idle` workers their share of the rows, where there are enough to share.
        """
        share = max(WORTH_SHARING, ceil(self._rows.total() / idle))
        for generator in self._waiting:
            if cuts := self._cut(generator, now, share):
                self._waiting[generator] = self._waiting.pop(generator)
                return Batch(generator, cuts)
        return None

    def rows(self, generator: str) -> int:
        """How many rows wait for a generator."""
        return self._rows[generator]

    def _cut(self, generator: str, now: float, share: int) -> tuple[Cut[R], ...]:
        size = self._size(generator)
        waiting = self._waiting[generator]
        taken: dict[R, int] = {}
        late = []
        batch = 0
        for turn, full in ((max(1, size.most // 4), size.most), (size.most, size.fill)):
            for request, rows in waiting.items():
                if (room := min(full, share) - batch) <= 0:
                    break
                if rows.deadline <= now:
                    late.append(request)
                    continue
                already = taken.get(request, 0)
                limit = turn if rows.rows > size.most else size.most
                if more := min(rows.left - already, limit - already, room):
                    taken[request] = already + more
                    batch += more
        for request in set(late):
            self.leave(request)
        return tuple(self._take(generator, request, rows) for request, rows in taken.items())

    def _take(self, generator: str, request: R, rows: int) -> Cut[R]:
        waiting = self._waiting[generator]
        its = waiting[request]
        start = its.rows - its.left
        its.left -= rows
        self._rows[generator] -= rows
        if not its.left:
            self.leave(request)
        elif its.rows > self._size(generator).most:
            waiting[request] = waiting.pop(request)
        return Cut(request, start, start + rows)
