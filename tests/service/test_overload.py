"""A server that has more to do than it can, and clients that do not wait for it."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from models.shelf import Shelf
from service.admission import REFUSALS_PER_SECOND
from tests.service.generators import convolutional_generator, endless_generator
from tests.service.server import PATIENCE, Server, is_ready, running, started


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It takes some milliseconds a row, and has room for 300 of them."""
    shelf = Shelf(tmp_path_factory.mktemp("slow"))
    shelf.place(convolutional_generator("slow", width=256))
    with running(shelf.root, queue_rows=300, max_batch=8, threads=1, timeout=30) as server:
        yield server


def test_more_than_the_queue_holds_is_told_when_to_come_back(slow: Server) -> None:
    with slow.client() as client, ThreadPoolExecutor(12) as callers:
        answers = list(
            callers.map(lambda seed: client.post("/generate", json={"n": 256, "seed": seed}), range(12))
        )
        assert {answer.status_code for answer in answers} == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                assert "no room for 256 more images" in answer.json()["error"]["message"]
        assert is_ready(client)
        # It comes back to itself, and gives what it gives when idle.
        seed = next(i for i, answer in enumerate(answers) if answer.status_code == 200)
        assert client.post("/generate", json={"n": 256, "seed": seed}).content == answers[seed].content


def test_small_requests_are_served_beside_a_large_one(slow: Server) -> None:
    with slow.client() as client, ThreadPoolExecutor(1) as callers:
        large = callers.submit(client.post, "/generate", json={"n": 256})
        until(lambda: in_progress(client) > 0 or large.done())
        small = client.post("/generate", json={"seed": 1})
        assert small.status_code == 200
        assert not large.done()
        assert large.result(PATIENCE).status_code == 200


def test_the_rows_of_a_client_that_leaves_are_not_computed(slow: Server) -> None:
    with slow.client() as client:
        before = computed(client)
        with begun(slow, b'{"n": 256}'):
            until(lambda: in_progress(client) > 0)
        until(lambda: in_progress(client) == 0)
        assert client.post("/generate", json={"n": 16}).status_code == 200
        # A batch of 8 was being computed perhaps, or two by now.
        assert computed(client) - before < 16 + 64
        assert metric(client, 'ganserve_rows_total{model="slow:1",outcome="dropped"}') >= 256
    lines = [json.loads(line) for line in slow.log.read_text().splitlines() if line.startswith("{")]
    assert 499 in {line["status"] for line in lines}
    assert "Traceback" not in slow.log.read_text()


def test_those_who_come_back_at_once_do_not_take_the_time_of_the_others(slow: Server) -> None:
    """Ten callers for each that there is room for: all are served or refused, and nothing else happens."""
    with slow.client() as client, ThreadPoolExecutor(20) as callers:
        began = time.monotonic()
        statuses: list[int] = []

        def call(seed: int) -> None:
            while time.monotonic() - began < 4:
                answer = client.post("/generate", json={"n": 128, "seed": seed, "format": "npz"})
                assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1
                statuses.append(answer.status_code)

        list(callers.map(call, range(20)))
        assert set(statuses) == {200, 503}
        assert statuses.count(503) <= (time.monotonic() - began) * REFUSALS_PER_SECOND + len(statuses) / 10


def test_whoever_was_accepted_is_answered_after_sigterm(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.place(convolutional_generator("slow", width=256))
    with running(shelf.root, max_batch=8, threads=1, drain=2) as server, server.client() as client:
        with ThreadPoolExecutor(6) as callers:
            large = [callers.submit(client.post, "/generate", json={"n": 100, "seed": i}) for i in range(6)]
            until(lambda: in_progress(client) == 6)
            os.kill(server.pid, signal.SIGTERM)
            until(lambda: client.get("/readyz").status_code == 503)
            # Load balancers learn of it later than we do.
            latecomer = client.post("/generate", json={"seed": 1})
            assert latecomer.status_code == 200
            for answer in (latecomer, client.post("/generate", json={"n": 0}), client.get("/models")):
                assert answer.headers["Connection"] == "close"
            assert [one.result(PATIENCE).status_code for one in large] == [200] * 6
        until(lambda: not answers(client))


def test_sigterm_ends_a_server_that_warms_up(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.place(endless_generator(always=True))
    log = tmp_path / "log"
    with started(shelf.root, log, tmp_path, timeout=3600) as (process, _):
        until(lambda: "Computing on" in log.read_text())
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_sigterm_ends_a_server_whose_device_does_not_come_to_its_end(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.place(endless_generator(always=False))
    with running(shelf.root, timeout=1) as server, server.client() as client:
        answer = client.post("/generate", json={"latents": [[40.0] * 16], "label": "a"})
        assert answer.status_code == 503
        worker = psutil.Process(server.pid).children()
        os.kill(server.pid, signal.SIGTERM)
        assert not psutil.wait_procs(worker, PATIENCE)[1]


def answers(client: httpx.Client) -> bool:
    try:
        client.get("/livez")
    except httpx.TransportError:
        return False
    return True


@contextlib.contextmanager
def begun(server: Server, body: bytes) -> Iterator[None]:
    """A request that is sent by a client that does not wait for the answer."""
    address = urlsplit(server.url)
    head = (
        f"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        yield


def metric(client: httpx.Client, name: str) -> float:
    """The value of a metric, 0 when there is none yet."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def in_progress(client: httpx.Client) -> float:
    return metric(client, 'ganserve_requests_in_progress{route="/generate"}')


def computed(client: httpx.Client) -> float:
    return metric(client, 'ganserve_batch_rows_sum{model="slow:1"}')


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
