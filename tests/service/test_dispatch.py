"""What becomes of requests, and what is made of their images."""

import asyncio
import threading
import time

import pytest

from service.dispatch import Dispatcher, Made, TooLate
from service.rows import Images
from service.workers import BatchFailed
from tests.service.gated import Gated, images, in_a_minute, numbers, rows, run, until


def test_requests_get_their_own_rows() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        asked = [range(1), range(10, 13), range(100, 111), range(50, 52)]
        answers = await asyncio.gather(*(images(dispatcher, "a", rows(*ask), in_a_minute()) for ask in asked))
        assert [numbers(answer) for answer in answers] == [list(ask) for ask in asked]

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


def test_it_says_how_long_rows_waited_and_were_computed() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        began = time.monotonic()
        first = asyncio.create_task(images(dispatcher, "a", rows(1), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        second = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        await asyncio.sleep(0)  # it joins
        await asyncio.sleep(0.05)
        engine.open()
        computed = [await first, await second]
        whole = time.monotonic() - began
        assert computed[0].compute_seconds >= 0.05
        assert computed[1].queue_seconds >= 0.05
        assert all(0 <= one.queue_seconds + one.compute_seconds <= whole for one in computed)

    run(test)


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


@pytest.mark.parametrize("overlap", [True, False])
def test_what_is_quickly_made_is_made_beside_a_device_that_computes_meanwhile(overlap: bool) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        first, second = (
            asyncio.create_task(
                dispatcher.make(
                    "a", rows(*numbers), in_a_minute(), lambda _: threading.get_ident(), quick=True
                )
            )
            for numbers in ((1, 2, 3, 4), (5,))
        )
        await until(lambda: len(engine.batches) == 1)
        engine.open()
        assert ((await first).result in engine.threads) is not overlap
        assert (await second).result in engine.threads

    run(test, overlap=overlap)


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


def test_what_is_quickly_made_of_several_batches_does_not_wait_either() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        gate = threading.Event()
        tasks = [
            asyncio.create_task(
                dispatcher.make("a", rows(number), in_a_minute(), lambda _: gate.wait(10), quick=False)
            )
            for number in (1, 2)  # as many as the pool has threads
        ]
        several = await images(dispatcher, "a", rows(*range(20, 30)), in_a_minute())
        assert numbers(several) == [*range(20, 30)]
        assert not any(task.done() for task in tasks)
        gate.set()
        await asyncio.gather(*tasks)

    run(test)


def test_what_is_quickly_made_does_not_wait_for_what_takes_long() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        gate, busy = threading.Event(), threading.Semaphore(0)

        def slowly(images: Images) -> Images:
            busy.release()
            assert gate.wait(10)
            return images

        slow = []
        for number in (1, 2):  # as many as the pool has threads
            making = dispatcher.make("a", rows(number), in_a_minute(), slowly, quick=False)
            slow.append(asyncio.create_task(making))
            engine.open(1)
            await until(lambda: busy.acquire(blocking=False))
        quick = asyncio.create_task(images(dispatcher, "a", rows(3), in_a_minute()))
        await until(lambda: [3] in engine.batches)
        other = asyncio.create_task(images(dispatcher, "a", rows(4), in_a_minute()))
        await asyncio.sleep(0)  # the device has other work
        engine.open(1)
        assert numbers(await quick) == [3]
        assert not any(task.done() for task in slow)
        gate.set()
        engine.open()
        assert [numbers(await task) for task in (*slow, other)] == [[1], [2], [4]]

    run(test)


def test_nothing_is_made_for_who_left_while_it_waited_to_be_made() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        gate, made = threading.Event(), []

        def slowly(images: Images) -> Images:
            made.append(int(images[0, 0, 0, 0]))
            assert gate.wait(10)
            return images

        async def begin(number: int) -> asyncio.Task[Made[Images]]:
            making = dispatcher.make("a", rows(number), in_a_minute(), slowly, quick=False)
            task = asyncio.create_task(making)
            await until(lambda: [number] in engine.batches)
            return task

        busy = [await begin(number) for number in (1, 2)]  # as many as the pool has threads
        await until(lambda: len(made) == 2)
        leaver, stayer = await begin(3), await begin(4)
        # when this answer comes, those before it wait in the pool
        await images(dispatcher, "a", rows(5), in_a_minute())
        leaver.cancel()
        gate.set()
        assert numbers(await stayer) == [4]
        for task in busy:
            await task
        assert sorted(made) == [1, 2, 4]

    run(test)


def test_a_time_that_is_up_while_the_answer_is_made_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        loop, ahead, passed = asyncio.get_running_loop(), 0.0, threading.Event()
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + ahead)
        loop.call_later(70, passed.set)

        def slowly(images: Images) -> Images:
            nonlocal ahead
            ahead = 100.0
            loop.call_soon_threadsafe(lambda: None)  # it looks at its clock
            assert passed.wait(10)
            return images

        made = await dispatcher.make("a", rows(1), in_a_minute(), slowly, quick=False)
        assert numbers(made) == [1]

    run(test)
