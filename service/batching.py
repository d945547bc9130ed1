"""Which rows are computed next: a pure function of the queue, the clock and what is in flight.

The unit is the row, not the request. A batch is cut as soon as the device is free, never later. A request of
more rows than a batch takes turns of half a batch, and goes to the back of the queue after each, so that it
cannot starve small requests; room that is left goes to whoever waits, in order. Generators have the device in
turn: the one that had it longest ago is next. Nobody's rows are computed who left or whose time is up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Waiting:
    """A request with rows to compute: `rows` in all, of which the last `left` are not dispatched yet."""

    id: int
    generator: str
    rows: int
    left: int
    deadline: float
    gone: bool = False


@dataclass(frozen=True)
class Queue:
    """Who waits, in order, and the generators that had the device, the latest last."""

    waiting: tuple[Waiting, ...] = ()
    turns: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(request.left for request in self.waiting)


@dataclass(frozen=True)
class Cut:
    """The rows [start, stop) of a request."""

    id: int
    start: int
    stop: int


@dataclass(frozen=True)
class Decision:
    """The requests to give up, and the batch to compute now, which is empty when there is none."""

    drop: tuple[int, ...] = ()
    generator: str | None = None
    batch: tuple[Cut, ...] = ()


def join(queue: Queue, request: Waiting) -> Queue:
    """The queue with the request at its back."""
    return replace(queue, waiting=(*queue.waiting, request))


def leave(queue: Queue, request: int) -> Queue:
    """The queue in which a request's client is gone, or whose rows already failed."""
    return replace(
        queue, waiting=tuple(replace(w, gone=True) if w.id == request else w for w in queue.waiting)
    )


def decide(queue: Queue, now: float, in_flight: int, max_batch: int) -> tuple[Decision, Queue]:
    """What to do at the time `now` with `in_flight` batches being computed, and the queue after it."""
    drop = tuple(w.id for w in queue.waiting if w.gone or w.deadline <= now)
    waiting = tuple(w for w in queue.waiting if w.id not in drop)
    if in_flight or not waiting:
        return Decision(drop), replace(queue, waiting=waiting)
    generator = min(
        (w.generator for w in waiting),
        key=lambda name: queue.turns.index(name) if name in queue.turns else -1,
    )
    taken = _share([w for w in waiting if w.generator == generator], max_batch)
    batch = tuple(
        Cut(w.id, w.rows - w.left, w.rows - w.left + taken[w.id]) for w in waiting if taken.get(w.id)
    )
    after = [replace(w, left=w.left - taken.get(w.id, 0)) for w in waiting]
    had_its_turn = [w.rows > max_batch and w.id in taken for w in after]
    return Decision(drop, generator, batch), Queue(
        tuple(
            w
            for turn in (False, True)
            for w, had in zip(after, had_its_turn, strict=True)
            if had is turn and w.left
        ),
        (*(name for name in queue.turns if name != generator), generator),
    )


def _share(waiting: Sequence[Waiting], max_batch: int) -> dict[int, int]:
    """How many rows each request gets of a batch, by its id; those that come too late for it are left out."""
    taken: dict[int, int] = {}
    room = max_batch
    turn = max(1, max_batch // 2)
    for most in (turn, max_batch):
        for request in waiting:
            already = taken.get(request.id, 0)
            limit = most if request.rows > max_batch else max_batch
            if more := min(request.left - already, limit - already, room):
                taken[request.id] = already + more
                room -= more
    return taken
