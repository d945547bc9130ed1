"""How much work the service takes on: rows from their acceptance until their answer is encoded."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from service import metrics, shared
from service.batching import WORTH_SHARING
from service.limits import MOST_IMAGES
from service.shared_count import SharedCount

# Saying no takes a part of the time that saying yes takes. Callers who come back at once, whatever they are
# told, would leave none for the others: so many a second are refused, and those beyond wait for their turn,
# but not for long.
REFUSALS_PER_SECOND = 200
LONGEST_WAIT = 1.0


class Full(Exception):
    """There is no room for the rows; there should be in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"there is no room, retry in {retry_after:.1f} s")
        self.retry_after = retry_after


class Admission:
    """Room for `limit` rows at a time, of which `rows` are taken, as `taken` tells. Lives on one event loop.

    The last eighth is for requests of at most WORTH_SHARING rows, since a few bulk callers would fill it all
    the time. The largest request always fits, if need be with less than an eighth beside it.
    """

    def __init__(
        self, limit: int, refusals_per_second: float = REFUSALS_PER_SECOND, taken: SharedCount | None = None
    ) -> None:
        self._limit = limit
        self._limit_of_large = min(limit, max(MOST_IMAGES, limit - limit // 8))
        self._refusals_per_second = refusals_per_second
        self._taken = taken or SharedCount(shared.ROWS)
        self._seconds_per_row = 0.0
        self._counted = 0
        self._left_last = 0.0
        self._next_refusal = 0.0

    @property
    def rows(self) -> int:
        return self._taken.own

    @contextmanager
    def admit(self, rows: int) -> Iterator[None]:
        """Hold room for the rows.

        Raises Full.
        """
        excess = self.rows + rows - (self._limit if rows <= WORTH_SHARING else self._limit_of_large)
        if excess > 0:
            raise Full(excess * self._seconds_per_row)
        if not self.rows:
            self._left_last = time.monotonic()
        self._take(rows)
        try:
            yield
        finally:
            self._take(-rows)
        self._measure(rows)

    def begin(self) -> None:
        """Let the time until now count for no row: none could be made."""
        self._left_last = time.monotonic()

    async def pace_refusal(self) -> None:
        """Wait for the turn to be refused, a second at most."""
        now = time.monotonic()
        self._next_refusal = max(now, self._next_refusal + 1 / self._refusals_per_second)
        if self._next_refusal > now:
            self._next_refusal = min(self._next_refusal, now + LONGEST_WAIT)
            await asyncio.sleep(self._next_refusal - now)

    def _take(self, rows: int) -> None:
        self._taken.own += rows
        metrics.ROWS_IN_PROGRESS.set(self.rows)

    def _measure(self, rows: int) -> None:
        now = time.monotonic()
        seconds = (now - self._left_last) / rows
        self._left_last = now
        # The mean over all rows until there were 1,000; then about the last 1,000 count.
        self._counted = min(1000, self._counted + rows)
        self._seconds_per_row += (seconds - self._seconds_per_row) * rows / self._counted
