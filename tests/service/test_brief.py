"""A few rows that take less time than a hand-over to a worker: computed where they are waited for."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from service.cpu import Cpu
from service.dispatch import Dispatcher, TooLate
from service.engine import Engine
from service.errors import DeviceLost
from service.rows import Images
from service.workers import BatchFailed
from tests.generators import tiny_generator
from tests.service.devices import Breakable
from tests.service.gated import Gated, images, in_a_minute, numbers, rows, run, until
from tests.service.generators import endless_generator, placed

HERE = threading.get_ident()


def test_few_rows_are_computed_and_made_on_the_event_loop() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        threads = []

        def total(images: Images) -> int:
            threads.append(threading.get_ident())
            return int(images.sum())

        made = await dispatcher.make("a", rows(3, 4), in_a_minute(), total, quick=True)
        assert made.result == 7
        assert made.queue_seconds >= 0
        assert made.compute_seconds > 0
        assert {*engine.threads, *threads} == {HERE}

    run(test, brief=2)


def test_those_of_one_turn_are_one_batch() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        asked = [images(dispatcher, "a", rows(i), in_a_minute()) for i in (1, 2, 3)]
        assert [numbers(one) for one in await asyncio.gather(*asked)] == [[1], [2], [3]]
        assert engine.batches == [[1, 2, 3]]
        assert engine.threads == {HERE}

    run(test, brief=3)


@pytest.mark.parametrize("asked", [[("a", 1), ("a", 2), ("a", 3)], [("a", 1), ("b", 2)]])
def test_more_rows_or_several_generators_are_for_the_workers(asked: list[tuple[str, int]]) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        made = [images(dispatcher, name, rows(number), in_a_minute()) for name, number in asked]
        assert [numbers(one) for one in await asyncio.gather(*made)] == [[number] for _, number in asked]
        assert HERE not in engine.threads

    run(test, brief=2)


def test_more_are_computed_here_while_nothing_else_is() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        for few in (1, 2, 3), (1, 2, 3, 4):
            assert numbers(await images(dispatcher, "a", rows(*few), in_a_minute())) == [*few]
            assert (HERE in engine.threads) is (len(few) <= 3)
            engine.threads.clear()
        assert engine.alone[0]

    run(test, brief=1, brief_alone=3)


@pytest.mark.parametrize("workers", [1, 2])
def test_while_a_worker_computes_the_event_loop_does_not(workers: int) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        large = asyncio.create_task(images(dispatcher, "a", rows(1, 2, 3), in_a_minute()))
        await until(lambda: len(engine.batches) == 1)
        small = asyncio.create_task(images(dispatcher, "a", rows(4), in_a_minute()))
        for _ in range(5):
            await asyncio.sleep(0)
        engine.open()
        assert [numbers(await task) for task in (large, small)] == [[1, 2, 3], [4]]
        assert HERE not in engine.threads

    run(test, brief=2, workers=workers)


def test_what_is_slowly_made_of_them_is_made_in_another_thread() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        made = await dispatcher.make(
            "a", rows(1), in_a_minute(), lambda _: threading.get_ident(), quick=False
        )
        assert engine.threads == {HERE}
        assert made.result != HERE

    run(test, brief=1)


def test_who_is_late_is_not_computed() -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        late = asyncio.create_task(images(dispatcher, "a", rows(1), time.monotonic()))
        in_time = asyncio.create_task(images(dispatcher, "a", rows(2), in_a_minute()))
        assert numbers(await in_time) == [2]
        with pytest.raises(TooLate):
            await late
        assert engine.batches == [[2]]

    run(test, brief=4)


def test_a_failure_is_that_of_its_own_rows(caplog: pytest.LogCaptureFixture) -> None:
    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        engine.open()
        with pytest.raises(BatchFailed):
            await images(dispatcher, "a", rows(13), in_a_minute())
        assert numbers(await images(dispatcher, "a", rows(1), in_a_minute())) == [1]
        with pytest.raises(ZeroDivisionError):
            await dispatcher.make("a", rows(2), in_a_minute(), lambda images: len(images) / 0, quick=True)
        assert not dispatcher.lost
        with pytest.raises(DeviceLost):
            await images(dispatcher, "a", rows(99), in_a_minute())
        assert dispatcher.lost
        assert engine.threads == {HERE}

    run(test, brief=1)
    assert "unlucky" in caplog.text


@pytest.mark.parametrize(("seconds", "is_cpu"), [(0.0, True), (0.0, False), (0.002, True)])
def test_rows_are_brief_where_any_thread_computes_them_quickly(
    seconds: float, is_cpu: bool, tmp_path: Path
) -> None:
    device = Breakable(seconds=seconds, is_cpu=is_cpu)
    engine = Engine(placed(tmp_path, tiny_generator()), device, max_batch=16)
    assert engine.brief == engine.brief_alone == 0
    engine.warm_up()
    assert (engine.brief > 0) is (is_cpu and not seconds)
    assert engine.brief <= 16
    assert (engine.brief_alone > 0) is is_cpu
    assert engine.brief <= engine.brief_alone <= 16


def test_rows_of_a_graph_that_loops_are_never_brief(tmp_path: Path) -> None:
    """One row may take as long as it likes, whatever others took."""
    engine = Engine(placed(tmp_path, endless_generator(always=False)), Cpu(1), max_batch=16)
    engine.warm_up()
    assert engine.brief == engine.brief_alone == 0
