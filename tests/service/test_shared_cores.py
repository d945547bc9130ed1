import asyncio
import subprocess
import sys

import pytest

from service.dispatch import Dispatcher
from service.shared_cores import SharedCores
from tests.service.gated import Gated, images, in_a_minute, numbers, rows, run, until
from tests.service.server import ROOT

pytestmark = pytest.mark.usefixtures("two_processes")


def test_each_sees_what_the_other_computes() -> None:
    one, other = SharedCores(3, 0), SharedCores(3, 1)
    assert (one.free, other.free) == (3, 3)
    one.computing += 2
    assert (one.free, other.free) == (1, 1)
    other.computing += 1
    assert (one.free, other.free) == (0, 0)
    one.computing -= 2
    assert (one.free, other.free) == (2, 2)


def test_one_that_computes_nothing_may_always_begin() -> None:
    one, other = SharedCores(1, 0), SharedCores(1, 1)
    one.computing = 1
    assert (one.free, other.free) == (0, 1)


def test_one_that_takes_the_place_of_another_computes_nothing() -> None:
    one, dead = SharedCores(2, 0), SharedCores(2, 1)
    dead.computing = 2
    assert one.free == 1
    SharedCores(2, 1)
    assert one.free == 2


def test_those_of_a_reload_have_counts_of_their_own() -> None:
    cores = [SharedCores(5, process) for process in range(4)]
    for one in cores:
        one.computing += 1
    assert {one.free for one in cores} == {1}


def test_what_one_computed_that_dies_is_forgotten_at_once() -> None:
    program = "from service.shared_cores import SharedCores\nSharedCores(2, 3).computing = 1"
    program += "\nprint(flush=True)\ninput()"
    other = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        one = SharedCores(2, 0)
        assert one.free == 1
        other.kill()
        other.wait()
        assert one.free == 2


@pytest.mark.parametrize(("computing", "batches"), [(0, [20, 20]), (1, [40])])
def test_rows_are_shared_with_a_core_that_no_process_computes_on(computing: int, batches: list[int]) -> None:
    other = SharedCores(2, 1)

    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        other.computing = computing
        asked = list(range(20, 60))
        task = asyncio.create_task(images(dispatcher, "a", rows(*asked), in_a_minute()))
        await until(lambda: sum(map(len, engine.batches)) == len(asked))
        engine.open()
        assert numbers(await task) == asked
        assert list(map(len, engine.batches)) == batches
        assert not any(engine.alone)

    run(test, max_batch=64, workers=2)


def test_a_core_that_another_process_leaves_is_found() -> None:
    """Nobody wakes the worker that waits for it."""
    other = SharedCores(3, 1)

    async def test(engine: Gated, dispatcher: Dispatcher) -> None:
        other.computing = 2
        tasks = []
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(images(dispatcher, "a", rows(number), in_a_minute())))
            await until(lambda: engine.batches[:1] == [[1]])
        for _ in range(100):
            await asyncio.sleep(0)
        assert engine.batches == [[1]]
        other.computing = 0
        await until(lambda: engine.batches == [[1], [2, 3]])
        engine.open()
        assert [numbers(await task) for task in tasks] == [[1], [2], [3]]

    run(test, workers=3)
