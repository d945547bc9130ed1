"""A server that has more to do than it can, and clients that do not wait for it."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from models.shelf import Shelf
from tests.service.generators import convolutional_generator
from tests.service.server import PATIENCE, Server, is_ready, running


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It takes some milliseconds a row, and has room for 256 of them."""
    shelf = Shelf(tmp_path_factory.mktemp("slow"))
    shelf.place(convolutional_generator("slow", width=256))
    with running(shelf.root, queue_rows=256, max_batch=8, threads=1, timeout=30) as server:
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


def test_a_client_that_leaves_harms_nobody(slow: Server) -> None:
    address = urlsplit(slow.url)
    body = b'{"n": 256}'
    head = (
        f"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with slow.client() as client:
        with socket.create_connection((address.hostname, address.port)) as leaver:
            leaver.sendall(f"{head}\r\n\r\n".encode() + body)
            until(lambda: in_progress(client) > 0)
        until(lambda: in_progress(client) == 0)
        assert client.post("/generate", json={"n": 256}).status_code == 200
    assert "status=499" in slow.log.read_text()
    assert "Traceback" not in slow.log.read_text()


def in_progress(client: httpx.Client) -> float:
    """The requests for images that BentoML counts as being answered."""
    lines = client.get("/metrics").text.splitlines()
    gauges = [line for line in lines if "request_in_progress" in line and 'endpoint="/generate"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in gauges)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
