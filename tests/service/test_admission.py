"""How much is taken on, and what is said to those for whom there is no room."""

import asyncio
import contextlib
import time
from contextlib import ExitStack

import pytest

from service.admission import LONGEST_WAIT, REFUSALS_PER_SECOND, Admission, Full
from tests.service.clock import Clock


def test_as_many_rows_as_there_is_room_for() -> None:
    admission = Admission(20)
    with admission.admit(12), admission.admit(8), pytest.raises(Full), admission.admit(1):
        pass
    with admission.admit(20), pytest.raises(Full), admission.admit(1):
        pass


def test_bulk_callers_leave_room_for_small_requests() -> None:
    admission = Admission(1024)
    with ExitStack() as bulk:
        for rows in (256, 256, 256, 128):
            bulk.enter_context(admission.admit(rows))
        for _ in range(16):
            with pytest.raises(Full), admission.admit(9):
                pass
            bulk.enter_context(admission.admit(8))
        with pytest.raises(Full), admission.admit(1):
            pass
    with admission.admit(256):
        pass


@pytest.mark.parametrize("limit", [256, 260])
def test_the_largest_request_has_room_where_nothing_else_is(limit: int) -> None:
    admission = Admission(limit)
    with admission.admit(256), pytest.raises(Full), admission.admit(9):
        pass
    with admission.admit(1), pytest.raises(Full), admission.admit(256):
        pass


def test_room_comes_back_also_when_the_work_fails() -> None:
    admission = Admission(3)
    with pytest.raises(ZeroDivisionError), admission.admit(3):
        _ = 1 / 0
    with admission.admit(3):
        pass


def estimate(admission: Admission, rows: int) -> float:
    with pytest.raises(Full) as full, admission.admit(rows):
        pass
    return full.value.retry_after


def test_the_estimate_grows_with_the_rows_too_many(clock: Clock) -> None:
    admission = Admission(20)
    for _ in range(3):
        with admission.admit(10):
            clock.now += 0.02
    with admission.admit(20):
        assert [estimate(admission, rows) for rows in (1, 5, 20)] == pytest.approx([0.002, 0.01, 0.04])


def test_a_first_row_that_took_long_is_soon_forgotten(clock: Clock) -> None:
    """The first of a burst waits for the others, who are done soon after it."""
    admission = Admission(64)
    with ExitStack() as others:
        for _ in range(20):
            others.enter_context(admission.admit(1))
        with admission.admit(1):
            clock.now += 0.06
    with admission.admit(64):
        assert estimate(admission, 64) == pytest.approx(64 * 0.06 / 21)


def test_about_the_last_thousand_rows_count(clock: Clock) -> None:
    admission = Admission(100)
    for seconds in (0.1, 0.2):
        for _ in range(20):
            with admission.admit(100):
                clock.now += seconds
    with admission.admit(100):
        # each request has a tenth of the weight, and 20 of them all but 0.9 ** 20
        assert estimate(admission, 1) == pytest.approx(0.002 - 0.001 * 0.9**20)


def test_rows_that_were_not_made_do_not_count_as_made(clock: Clock) -> None:
    admission = Admission(10)
    for seconds, fails in ((0.02, False), (100, True)):
        with contextlib.suppress(ZeroDivisionError), admission.admit(10):
            clock.now += seconds
            _ = 1 / (not fails)
    with admission.admit(10):
        assert estimate(admission, 1) == pytest.approx(0.002)


def test_a_few_are_refused_at_once_and_many_one_after_the_other() -> None:
    async def main() -> None:
        admission = Admission(1)
        began = time.monotonic()
        await admission.pace_refusal()
        many = REFUSALS_PER_SECOND // 4
        await asyncio.gather(*(admission.pace_refusal() for _ in range(many)))
        assert time.monotonic() - began >= many / REFUSALS_PER_SECOND * 0.99
        # Those that nobody could refuse in time share the longest wait.
        began = time.monotonic()
        await asyncio.gather(*(admission.pace_refusal() for _ in range(5 * REFUSALS_PER_SECOND)))
        assert time.monotonic() - began >= LONGEST_WAIT * 0.99

    asyncio.run(main())
