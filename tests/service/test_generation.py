"""What requests are told by a service that cannot serve them now."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.shelf import Shelf
from service.catalogue import Catalogue
from service.errors import Refusal
from service.generation import Generation
from service.schemas import GenerateRequest, parse
from service.settings import Settings
from tests.generators import tiny_generator
from tests.service.clock import Clock
from tests.service.devices import Breakable
from tests.service.gated import until
from tests.service.server import PATIENCE, ROOT

BODY = json.dumps({"model": "convolutional", "seed": 1}).encode()


def catalogue_of(shelf: Shelf) -> Catalogue:
    return Catalogue([found for found in shelf.list() if found.name == "convolutional"])


def test_a_device_that_fails_turns_readiness_off(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = Breakable()
    monkeypatch.setattr("service.generation.choose", lambda *_: device)

    async def test() -> None:
        generation = Generation(catalogue_of(shelf), Settings(models=shelf.root, threads=1, max_batch=4))
        try:
            assert not generation.ready
            await generation.load()
            assert generation.ready
            await generation.answer(BODY, None, time.monotonic() + 60)
            device.broken = True
            for _ in range(2):
                with pytest.raises(Refusal, match="the device that makes the images has failed") as refusal:
                    await generation.answer(BODY, None, time.monotonic() + 60)
                assert refusal.value.status == 503
                assert refusal.value.headers == {"Retry-After": "30"}
                assert not generation.ready
        finally:
            generation.close()

    asyncio.run(test())
    [record] = caplog.records
    assert record.levelname == "CRITICAL"
    assert "the breakable CPU has failed: CUDA failure 719: unspecified launch failure" in record.getMessage()


PROBES = """
from starlette.testclient import TestClient

import service.generation
from tests.service.devices import Breakable

device = Breakable()
service.generation.choose = lambda *_: device

from service.service import Ganserve

with TestClient(Ganserve.to_asgi()) as client:
    while client.get("/readyz").status_code != 200:
        pass
    print(client.get("/livez").status_code)
    device.broken = True
    for method, path in (("POST", "/generate"), ("GET", "/livez"), ("GET", "/readyz")):
        print(client.request(method, path).status_code)
"""


def test_a_device_that_fails_lets_the_service_be_started_again(tmp_path: Path) -> None:
    Shelf(tmp_path).place(tiny_generator())
    environment = os.environ | {
        "GANSERVE_MODELS": str(tmp_path),
        "GANSERVE_PROCESSES": "1",
        "GANSERVE_LOG_SAMPLE": "0",
    }
    command = [sys.executable, "-c", PROBES]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=PATIENCE, check=True
    )
    assert done.stdout.split() == [b"200", b"503", b"503", b"503"]


def test_who_finds_no_room_is_told_of_no_warm_up_and_of_no_longer_than_the_timeout(
    shelf: Shelf, clock: Clock
) -> None:
    settings = Settings(models=shelf.root, device="cpu", threads=1, max_batch=64, queue_rows=256, timeout=30)
    body = json.dumps({"model": "convolutional", "n": 256}).encode()

    async def test() -> None:
        generation = Generation(catalogue_of(shelf), settings)

        async def admitted() -> asyncio.Task[object]:
            """A request that takes all room."""
            request = asyncio.create_task(generation.answer(body, None, time.monotonic() + 60))
            await asyncio.sleep(0)
            return request

        async def told() -> object:
            with pytest.raises(Refusal, match="no room for 256 more images") as refusal:
                await generation.answer(body, None, time.monotonic() + 60)
            return refusal.value.headers

        try:
            early = await admitted()
            clock.now += 1000
            await generation.load()
            await early
            late = await admitted()
            assert await told() == {"Retry-After": "1"}
            clock.now += 1000
            await late
            later = await admitted()
            assert await told() == {"Retry-After": "30"}
            await later
        finally:
            generation.close()

    asyncio.run(test())


def test_latents_of_another_length_do_not_wait_to_be_refused(shelf: Shelf) -> None:
    """Parsed numbers take thirty times the memory of their text."""
    body = json.dumps({"model": "convolutional", "label": 0, "latents": [[1.0] * 1000]}).encode()

    async def test() -> None:
        generation = Generation(catalogue_of(shelf), Settings(models=shelf.root, device="cpu", threads=1))
        try:  # which has not begun to load, so that others wait
            with pytest.raises(Refusal, match=r"latents\[0\] has 1000 numbers") as refusal:
                await generation.answer(body, None, time.monotonic() + 60)
            assert refusal.value.status == 422
        finally:
            generation.close()

    asyncio.run(test())


def test_large_bodies_are_parsed_one_at_a_time_and_wait_no_longer_than_their_deadline(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(models=shelf.root, device="cpu", threads=2, timeout=30)
    large = BODY + b" " * 2**13
    parsed: list[bytes] = []
    gate = threading.Event()

    def gated(body: bytes) -> GenerateRequest:
        if len(body) == len(large):
            parsed.append(body)
            assert gate.wait(10)
        return parse(body)

    monkeypatch.setattr("service.generation.parse", gated)

    async def test() -> None:
        generation = Generation(catalogue_of(shelf), settings)
        try:
            await generation.load()
            first = asyncio.create_task(generation.answer(large, None, time.monotonic() + 60))
            await until(lambda: bool(parsed))
            with pytest.raises(Refusal, match="not computed within 30 s") as refusal:
                await generation.answer(large, None, time.monotonic() + 0.01)
            assert refusal.value.status == 503
            assert refusal.value.headers == {"Retry-After": "1"}
            # The small do not wait for them.
            await generation.answer(BODY, None, time.monotonic() + 60)
            gate.set()
            await first
            await generation.answer(large, None, time.monotonic() + 60)
        finally:
            gate.set()
            generation.close()

    asyncio.run(test())
    assert len(parsed) == 2
