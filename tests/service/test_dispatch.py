"""The dispatcher on a real event loop, with an engine that computes when the test lets it."""

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.dispatch import Dispatcher, Made, TooLate
from service.errors import DeviceLost
from service.rows import Images, Rows
from service.workers import BatchFailed


@dataclass
class Gated:
    """An engine whose image is the latent's only number; each batch waits for `gate`."""

    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    batches: list[list[int]] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    warm_in: list[int] = field(default_factory=list)

    def warm_up(self) -> None:
        self.warm_in.append(threading.get_ident())

    def run(self, rows: Rows, *, alone: bool) -> Images:
        numbers = rows.latents[:, 0].astype(np.uint8)
        self.batches.append(numbers.tolist())
        self.alone.append(alone)
        self.threads.add(threading.get_ident())
        assert self.gate.acquire(timeout=10)
        if 13 in numbers:
            raise RuntimeError("unlucky")
        if 99 in numbers:
            raise DeviceLost("the test's device has failed: out of numbers")
        return numbers.reshape(-1, 1, 1, 1)

    def open(self, batches: int = 1000) -> None:
        self.gate.release(batches)


def rows(*numbers: int) -> Rows:
    return Rows(np.array(numbers, np.float32).reshape(-1, 1))


def numbers(made: Made[Images]) -> list[int]:
    return [int(number) for number in made.result[:, 0, 0, 0]]


async def images(dispatcher: Dispatcher, generator: str, rows: Rows, deadline: float) -> Made[Images]:
    return await dispatcher.make(generator, rows, deadline, lambda images: images, quick=True)


def in_a_minute() -> float:
    return time.monotonic() + 60


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the engine's thread knows no event of this loop
            await asyncio.sleep(0)


def run(
    test: Callable[[Gated, Dispatcher], Awaitable[None]], *, max_batch: int = 4, workers: int = 1
) -> None:
    async def main() -> None:
        engine = Gated()
        pool = ThreadPoolExecutor(2, thread_name_prefix="pool")
        dispatcher = Dispatcher({"a": engine, "b": engine}, pool, max_batch=max_batch, workers=workers)
        await dispatcher.start()
        try:
            await test(engine, dispatcher)
        finally:
            engine.open()
            dispatcher.close()

    asyncio.run(main())


def test_requests_get_their_own_rows() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        asked = [range(1), range(10, 13), range(100, 111), range(50, 52)]
        answers = await asyncio.gather(*(images(dispatcher, "a", rows(*ask), in_a_minute()) for ask in asked))
        assert [numbers(answer) for answer in answers] == [list(ask) for ask in asked]

    run(test)


def test_rows_that_come_while_the_device_is_busy_make_the_next_batch() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        first = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: engine.batches == [[1]])
        others = [asyncio.create_task(images(dispatcher, "a", rows(i), in_a_minute())) for i in (2, 3, 4)]
        await asyncio.sleep(0)
        engine.open()
        await asyncio.gather(first, *others)
        assert engine.batches == [[1], [2, 3, 4]]

    run(test)


def test_the_event_loop_stays_free_while_the_device_computes() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        task = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        engine.open()
        await task
        assert engine.threads
        assert threading.get_ident() not in engine.threads

    run(test)


def test_rows_of_a_cancelled_request_are_not_computed() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        busy = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        leaver = asyncio.create_task(images(dispatcher, "a", rows(*range(20, 40)), in_a_minute()))
        await asyncio.sleep(0)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        stayer = asyncio.create_task(images(dispatcher, "a", rows(*range(60, 80)), in_a_minute()))
        engine.open()
        assert numbers(await stayer) == list(range(60, 80))
        await busy
        assert not {number for batch in engine.batches for number in batch} & set(range(20, 40))

    run(test)


def test_a_request_cancelled_while_it_is_computed_harms_nobody() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        leaver = asyncio.create_task(images(dispatcher, "a", rows(1, 2, 3, 4, 5), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        stayer = asyncio.create_task(images(dispatcher, "a", rows(7), in_a_minute()))
        engine.open()
        assert numbers(await stayer) == [7]
        assert engine.batches == [[1, 2, 3, 4], [7]]

    run(test)


def test_a_deadline_that_passes_while_waiting_ends_the_request_at_once() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        busy = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        with pytest.raises(TooLate):
            await images(dispatcher, "a", rows(2), time.monotonic() + 0.01)
        engine.open()
        await busy
        assert engine.batches == [[1]]

    run(test)


def test_a_failing_batch_fails_its_own_rows_only(caplog: pytest.LogCaptureFixture) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        busy = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        # The second batch holds all of the first unlucky request and the begin of the second.
        doomed = [
            asyncio.create_task(images(dispatcher, "a", rows(13), in_a_minute())),
            asyncio.create_task(images(dispatcher, "a", rows(*range(20, 30)), in_a_minute())),
        ]
        await asyncio.sleep(0)
        spared = asyncio.create_task(images(dispatcher, "b", rows(5), in_a_minute()))
        await asyncio.sleep(0)
        engine.open()
        for task in doomed:
            with pytest.raises(BatchFailed):
                await task
        assert numbers(await busy) == [1]
        assert numbers(await spared) == [5]
        assert numbers(await images(dispatcher, "a", rows(6), in_a_minute())) == [6]
        assert sum(len(batch) for batch in engine.batches) == 1 + 4 + 1 + 1

    run(test)
    assert "unlucky" in caplog.text


def test_two_workers_share_a_request_and_its_images_keep_their_order() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        large = asyncio.create_task(images(dispatcher, "a", rows(*range(20, 36)), in_a_minute()))
        await until(lambda: len(engine.batches) == 2)
        assert sorted(engine.batches) == [list(range(20, 28)), list(range(28, 36))]
        assert len(engine.threads) == 2
        engine.open()
        assert numbers(await large) == list(range(20, 36))

    run(test, max_batch=64, workers=2)


def test_images_keep_their_order_when_a_later_batch_is_done_first() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        asked = [list(range(14 + i, 14 + i + 40)) for i in range(5)]
        tasks = [asyncio.create_task(images(dispatcher, "a", rows(*ask), in_a_minute())) for ask in asked]
        engine.open()
        assert [numbers(await task) for task in tasks] == asked
        assert len(engine.threads) > 1

    run(test, max_batch=3, workers=4)


def test_it_says_how_long_rows_waited_and_were_computed() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        began = time.monotonic()
        first = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        second = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        await asyncio.sleep(0.05)
        engine.open()
        computed = [await first, await second]
        whole = time.monotonic() - began
        assert computed[0].compute_seconds >= 0.05
        assert computed[1].queue_seconds >= 0.05
        assert all(0 <= one.queue_seconds + one.compute_seconds <= whole for one in computed)

    run(test)


def test_engines_are_warmed_up_by_the_thread_that_runs_them() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        await images(dispatcher, "a", rows(1), in_a_minute())
        assert len(engine.warm_in) == 2
        assert set(engine.warm_in) == engine.threads

    run(test)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_device_that_fails_computes_nothing_more_and_leaves_nobody_waiting(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        tasks = []
        for batch in range(1, workers + 1):
            tasks.append(asyncio.create_task(images(dispatcher, "a", rows(99), in_a_minute())))
            await until(lambda batch=batch: len(engine.batches) == batch)  # type: ignore[misc]
        tasks.append(asyncio.create_task(images(dispatcher, "b", rows(2), in_a_minute())))
        await asyncio.sleep(0)
        assert not dispatcher.lost
        engine.open()
        for task in tasks:
            with pytest.raises(DeviceLost, match="out of numbers"):
                await task
        assert dispatcher.lost
        with pytest.raises(DeviceLost):
            await images(dispatcher, "a", rows(3), in_a_minute())
        assert engine.batches == [[99]] * workers

    run(test, workers=workers)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_made_of_images_is_made_off_the_event_loop(quick: bool) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        asked = [range(1), range(10, 13), range(100, 111)]
        threads = set()

        def total(images: Images) -> int:
            threads.add(threading.get_ident())
            return int(images.sum())

        made = await asyncio.gather(
            *(dispatcher.make("a", rows(*ask), in_a_minute(), total, quick=quick) for ask in asked)
        )
        assert [one.result for one in made] == [sum(ask) for ask in asked]
        assert threading.get_ident() not in threads

    run(test)


@pytest.mark.parametrize("quick", [True, False])
def test_what_cannot_be_made_fails_its_own_request_only(quick: bool) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        def unlucky(images: Images) -> float:
            return len(images) / 0

        failing = asyncio.create_task(dispatcher.make("a", rows(1), in_a_minute(), unlucky, quick=quick))
        fine = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        engine.open()
        with pytest.raises(ZeroDivisionError):
            await failing
        assert numbers(await fine) == [2]

    run(test)


def test_the_device_goes_on_while_something_is_made() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        making = threading.Event()

        def slowly(images: Images) -> Images:
            assert making.wait(10)
            return images

        first = asyncio.create_task(dispatcher.make("a", rows(1), in_a_minute(), slowly, quick=True))
        await until(lambda: len(engine.batches) == 1)
        second = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        for _ in range(3):
            await asyncio.sleep(0)
        engine.open()
        await until(lambda: len(engine.batches) == 2)
        assert not first.done()
        making.set()
        assert numbers(await first) == [1]
        assert numbers(await second) == [2]

    run(test)


def test_who_leaves_at_once_is_forgotten() -> None:
    """Whichever of many workers hears of it first, and however the threads take turns."""

    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open(10**6)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(100):
                soon = time.monotonic() + 0.0005
                tasks = [asyncio.create_task(images(dispatcher, "a", rows(i), soon)) for i in range(20)]
                await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            sys.setswitchinterval(interval)
        # A last one, that all news may be heard of.
        assert numbers(await images(dispatcher, "a", rows(7), in_a_minute())) == [7]
        assert dispatcher.remembered == 0

    run(test, workers=8)


def test_a_time_that_is_up_while_the_answer_is_made_does_not_count() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        deadline = time.monotonic() + 0.2
        made = threading.Event()

        def slowly(images: Images) -> Images:
            made.wait(0.5)
            return images

        result = await dispatcher.make("a", rows(1), deadline, slowly, quick=False)
        assert time.monotonic() > deadline
        assert numbers(result) == [1]

    run(test)


def test_a_batch_is_alone_when_nothing_else_is_computed_or_waits() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        first = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: engine.batches == [[1]])
        second = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        await until(lambda: len(engine.batches) == 2)
        engine.open()
        await asyncio.gather(first, second)
        assert engine.alone == [True, False]

    async def test_shared(engine: Gated, dispatcher: Dispatcher) -> None:
        shared = asyncio.create_task(images(dispatcher, "a", rows(*range(20, 30)), in_a_minute()))
        await until(lambda: len(engine.batches) == 2)
        engine.open()
        await shared
        assert engine.alone == [False, False]

    run(test, workers=2)
    run(test_shared, max_batch=16, workers=2)
