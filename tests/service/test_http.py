"""From the HTTP surface to the engine: clients that leave, wait too long, or come too early."""

import asyncio
import io
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from models.shelf import Shelf
from service import http
from service.catalogue import Catalogue
from service.engine import Engine
from service.errors import EngineError
from service.generation import Generation
from service.rows import Images, Rows
from service.settings import Settings
from tests.generators import tiny_generator
from tests.service.generators import unsupported_generator

LIMIT = 2**20
TIMEOUT = 30.0
OUTCOMES = ("served", "refused", "dropped", "failed")


@dataclass
class Gate:
    """Stands before the real engine: holds its batches, and counts the rows that it computes."""

    monkeypatch: pytest.MonkeyPatch
    opened: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    error: Exception | None = None

    def install(self) -> None:
        compute = Engine.run

        def run(engine: Engine, rows: Rows, *, alone: bool) -> Images:
            self.rows += len(rows)
            assert self.opened.wait(10)
            if self.error:
                raise self.error
            return compute(engine, rows, alone=alone)

        self.monkeypatch.setattr(Engine, "run", run)


class Client:
    """Sends a body, and stays until it is told to leave."""

    def __init__(self, body: bytes = b"{}") -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    def post(self, generation: Generation, timeout: float = TIMEOUT) -> asyncio.Task[Response]:
        scope = {"type": "http", "method": "POST", "path": "/generate", "headers": []}
        return asyncio.create_task(
            http.generate(Request(scope, self.receive), generation, body_limit=LIMIT, seconds=timeout)
        )


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    shelf = Shelf(tmp_path)
    shelf.place(tiny_generator())
    return Catalogue(shelf.list())


def run(
    test: Callable[[Generation], Awaitable[None]], catalogue: Catalogue, *, load: bool = True, **settings: Any
) -> None:
    async def main() -> None:
        generation = Generation(catalogue, Settings(max_batch=4, threads=1, **settings))
        try:
            if load:
                await generation.load()
            await test(generation)
        finally:
            generation.close()

    asyncio.run(main())


@contextmanager
def counting(**expected: int) -> Iterator[None]:
    """See that so many rows more have each outcome in the end."""

    def counted() -> list[float]:
        labels = [{"model": "tiny:1", "outcome": outcome} for outcome in OUTCOMES]
        return [REGISTRY.get_sample_value("ganserve_rows_total", label) or 0 for label in labels]

    before = counted()
    yield
    more = [after - once for once, after in zip(before, counted(), strict=True)]
    assert dict(zip(OUTCOMES, more, strict=True)) == dict.fromkeys(OUTCOMES, 0) | expected


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the engine's thread knows no event of this loop
            await asyncio.sleep(0.001)


def test_rows_of_a_client_that_left_are_not_computed(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def test(generation: Generation) -> None:
        gate.install()
        leaver = Client(b'{"n": 100}')
        leaving = leaver.post(generation)
        await until(lambda: gate.rows == 4)
        leaver.leave()
        assert (await leaving).status_code == 499
        stayer = Client(b'{"n": 3}').post(generation)
        gate.opened.set()
        assert (await stayer).status_code == 200
        assert gate.rows == 4 + 3

    with counting(dropped=100, served=3):
        run(test, catalogue)


def test_a_request_that_waits_too_long_is_told_to_come_back(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def test(generation: Generation) -> None:
        gate.install()
        served = Client(b'{"n": 5}').post(generation)
        await until(lambda: gate.rows == 4)
        late = await Client(b'{"n": 100}').post(generation, timeout=0.2)
        assert late.status_code == 503
        assert int(late.headers["Retry-After"]) >= 1
        assert b"not computed within 0.2 s" in bytes(late.body)
        gate.opened.set()
        assert (await served).status_code == 200
        assert gate.rows == 5

    with counting(dropped=100, served=5):
        run(test, catalogue, timeout=0.2)


def test_what_has_no_room_is_counted_as_refused(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def test(generation: Generation) -> None:
        gate.install()
        served = Client(b'{"n": 200}').post(generation)
        await until(lambda: gate.rows == 4)
        refused = await Client(b'{"n": 57}').post(generation)
        assert refused.status_code == 503
        gate.opened.set()
        assert (await served).status_code == 200

    with counting(refused=57, served=200):
        run(test, catalogue, queue_rows=256)


def test_a_batch_that_fails_is_an_error_and_the_service_goes_on(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def test(generation: Generation) -> None:
        gate.install()
        gate.opened.set()
        gate.error = RuntimeError("out of luck")
        failed = await Client().post(generation)
        assert failed.status_code == 500
        assert b"tiny:1 failed on these images" in bytes(failed.body)
        assert b"luck" not in bytes(failed.body)
        gate.error = None
        assert (await Client().post(generation)).status_code == 200

    with counting(failed=1, served=1):
        run(test, catalogue)


def test_who_comes_before_the_generators_are_warm_waits_until_they_are(catalogue: Catalogue) -> None:
    async def test(generation: Generation) -> None:
        assert not generation.ready
        early = Client().post(generation)
        late = await Client().post(generation, timeout=0.05)
        assert late.status_code == 503
        assert int(late.headers["Retry-After"]) >= 1
        assert b"still warming up" in bytes(late.body)
        await generation.load()
        assert generation.ready
        assert (await early).status_code == 200

    run(test, catalogue, load=False)


def test_one_generator_that_does_not_run_keeps_the_service_from_being_ready(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.place(tiny_generator())
    shelf.place(unsupported_generator())

    async def test(generation: Generation) -> None:
        with pytest.raises(EngineError, match=r"unsupported/1/model.onnx: ONNX Runtime cannot load it on "):
            await generation.load()
        assert not generation.ready

    run(test, Catalogue(shelf.list()), load=False)


def test_a_client_that_leaves_while_it_sends_is_not_answered(catalogue: Catalogue) -> None:
    async def test(generation: Generation) -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "path": "/generate", "headers": []}
        answer = await http.generate(Request(scope, receive), generation, body_limit=LIMIT, seconds=TIMEOUT)
        assert answer.status_code == 499

    run(test, catalogue)


def test_a_body_that_never_ends_is_the_clients_fault(catalogue: Catalogue) -> None:
    async def test(generation: Generation) -> None:
        chunks = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> Message:
            return chunks.pop() if chunks else await asyncio.Future()

        scope = {"type": "http", "method": "POST", "path": "/generate", "headers": []}
        answer = await http.generate(Request(scope, receive), generation, body_limit=LIMIT, seconds=0.01)
        assert answer.status_code == 408
        assert answer.headers["Connection"] == "close"
        assert json.loads(bytes(answer.body))["error"]["field"] == "body"

    run(test, catalogue)


def test_large_arrays_are_sent_in_several_messages_of_the_announced_length(catalogue: Catalogue) -> None:
    async def test(generation: Generation) -> None:
        response = await Client(b'{"n": 256, "format": "npz"}').post(generation)
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        await response({"type": "http"}, asyncio.Future, send)
        start, *bodies = messages
        assert len(bodies) > 1
        assert start["status"] == 200
        assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
        body = b"".join(message["body"] for message in bodies)
        assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
        with np.load(io.BytesIO(body)) as arrays:
            assert len(arrays["images"]) == 256

    run(test, catalogue)
