"""A device that fails while the service runs."""

import asyncio
import json
import time

import pytest

from models.shelf import Shelf
from service.catalogue import Catalogue
from service.errors import Refusal
from service.generation import Generation
from service.settings import Settings
from tests.service.devices import Breakable

BODY = json.dumps({"model": "convolutional", "seed": 1}).encode()


def test_a_device_that_fails_turns_readiness_off(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = Breakable()
    monkeypatch.setattr("service.generation.choose", lambda *_: device)
    catalogue = Catalogue([found for found in Shelf(shelf.root).list() if found.name == "convolutional"])

    async def test() -> None:
        generation = Generation(catalogue, Settings(models=shelf.root, threads=1, max_batch=4))
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
