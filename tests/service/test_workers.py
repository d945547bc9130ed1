"""Which batches are computed, by which threads, and when."""

import asyncio
import gc
import sys
import threading
import time
import weakref

import pytest
from prometheus_client import REGISTRY

from service.dispatch import Dispatcher
from service.errors import DeviceLost
from service.rows import Images, Rows
from tests.service.gated import Gated, images, in_a_minute, numbers, rows, run, until


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


def test_two_workers_share_a_request_and_its_images_keep_their_order() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        large = asyncio.create_task(images(dispatcher, "a", rows(*range(20, 36)), in_a_minute()))
        await until(lambda: len(engine.batches) == 2)
        assert sorted(engine.batches) == [list(range(20, 28)), list(range(28, 36))]
        assert len(engine.threads) == 2
        engine.open()
        assert numbers(await large) == list(range(20, 36))

    run(test, max_batch=64, workers=2)


def test_a_large_request_fills_batches_as_far_as_the_engine_has_it() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        await images(dispatcher, "a", rows(*range(20, 60)), in_a_minute())
        assert [len(batch) for batch in engine.batches] == [8] * 5

    run(test, max_batch=32, fill=3)


def test_images_keep_their_order_when_a_later_batch_is_done_first() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        asked = [list(range(14 + i, 14 + i + 40)) for i in range(5)]
        engine.last = 14
        tasks = [asyncio.create_task(images(dispatcher, "a", rows(*ask), in_a_minute())) for ask in asked]
        engine.open()
        assert [numbers(await task) for task in tasks] == asked

    run(test, max_batch=3, workers=4)


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
        assert REGISTRY.get_sample_value("ganserve_queue_rows", {"model": "b"}) == 0

    run(test, workers=workers)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


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
        asked: list[weakref.ref[Rows]] = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(100):
                soon = time.monotonic() + 0.0005
                asks = [rows(i) for i in range(20, 40)]
                asked += map(weakref.ref, asks)
                tasks = [asyncio.create_task(images(dispatcher, "a", ask, soon)) for ask in asks]
                del asks
                await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            sys.setswitchinterval(interval)
        # A last one, that all news may be heard of.
        assert numbers(await images(dispatcher, "a", rows(7), in_a_minute())) == [7]
        del tasks, task

        def forgotten() -> bool:
            gc.collect()
            return all(ask() is None for ask in asked)

        await until(forgotten)

    run(test, workers=8)


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
