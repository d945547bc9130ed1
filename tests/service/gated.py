"""A dispatcher on a real event loop, with an engine that computes when the test lets it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from service.batching import BatchSize
from service.dispatch import Dispatcher, Made
from service.errors import DeviceLost
from service.rows import Images, Rows
from service.shared_cores import SharedCores


@dataclass
class Gated:
    """An engine whose image is the latent's only number; each batch waits for `gate`.

    The batch with the number `last` also waits until another is done.
    """

    when_warm: BatchSize
    size: BatchSize = field(init=False, default_factory=lambda: BatchSize(1, fill=1))
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    batches: list[list[int]] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    warm_in: list[int] = field(default_factory=list)
    last: int | None = None
    done: threading.Event = field(default_factory=threading.Event)
    brief: int = 0
    brief_alone: int = 0

    def warm_up(self) -> None:
        self.warm_in.append(threading.get_ident())
        self.size = self.when_warm

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
        if self.last in numbers:
            assert self.done.wait(10)
        self.done.set()
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
    test: Callable[[Gated, Dispatcher], Awaitable[None]],
    *,
    max_batch: int = 4,
    fill: int | None = None,
    workers: int = 1,
    brief: int = 0,
    brief_alone: int = 0,
    overlap: bool = True,
) -> None:
    async def main() -> None:
        size = BatchSize(max_batch, fill=fill or max_batch)
        engine = Gated(size, brief=brief, brief_alone=brief_alone or brief)
        pool, quick = (ThreadPoolExecutor(2, thread_name_prefix=name) for name in ("pool", "quick"))
        dispatcher = Dispatcher(
            {"a": engine, "b": engine}, pool, quick, cores=SharedCores(workers), overlap=overlap
        )
        await dispatcher.start()
        try:
            await test(engine, dispatcher)
        finally:
            engine.open()
            dispatcher.close()

    asyncio.run(main())
