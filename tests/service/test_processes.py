"""Several processes that share a port are one server to who looks at it from outside."""

import fcntl
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from models.shelf import Shelf
from service.processes import MOST
from service.settings import Settings
from tests.generators import tiny_generator
from tests.service.server import PATIENCE, Server, is_ready, running, started
from tests.service.test_overload import metric, until

COUNT = 3


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    shelf = Shelf(tmp_path_factory.mktemp("several"))
    shelf.place(tiny_generator())
    with running(shelf.root, processes=COUNT) as server:
        yield server


def answered(server: Server, seeds: range) -> list[httpx.Response]:
    """An answer a seed, each over a connection of its own."""

    def ask(seed: int) -> httpx.Response:
        with once_each(server) as client:
            return client.post("/generate", json={"n": 5, "seed": seed, "format": "npz"})

    with ThreadPoolExecutor(8) as callers:
        return list(callers.map(ask, seeds))


def once_each(server: Server) -> httpx.Client:
    """A client with a new connection for each request, so that any process may answer."""
    return httpx.Client(
        base_url=server.url,
        timeout=PATIENCE,
        limits=httpx.Limits(max_keepalive_connections=0),
        verify=False,  # noqa: S501 - it is HTTP, and certificates take long to load
    )


def test_all_give_the_same_bytes(several: Server) -> None:
    answers = answered(several, range(200))
    assert {answer.status_code for answer in answers} == {200}
    again = answered(several, range(200))
    assert [one.content for one in answers] == [one.content for one in again]


def test_any_of_them_tells_the_metrics_of_all(several: Server) -> None:
    name = 'ganserve_rows_total{model="tiny:1",outcome="served"}'
    with several.client() as client:
        before = metric(client, name)
    answered(several, range(100))
    with once_each(several) as client:
        for _ in range(20):
            assert metric(client, name) == before + 500
            assert metric(client, "ganserve_rows_in_progress") == 0
        assert "ganserve_build_info{" in client.get("/metrics").text


def test_nobody_cleans_up_what_they_share(several: Server) -> None:
    """systemd-tmpfiles leaves alone what it cannot lock (tmpfiles.d(5))."""
    [folder] = several.log.parent.glob("ganserve-*")
    opened = os.open(folder, os.O_RDONLY)
    try:
        for lock in (fcntl.LOCK_SH, fcntl.LOCK_EX):
            with pytest.raises(BlockingIOError):
                fcntl.flock(opened, lock | fcntl.LOCK_NB)
    finally:
        os.close(opened)


def test_one_that_dies_is_replaced_and_counts_no_more(several: Server) -> None:
    name = 'ganserve_rows_total{model="tiny:1",outcome="served"}'
    answered(several, range(30))
    with several.client() as client:
        served = metric(client, name)
    files = count_files(several)
    dead = psutil.Process(several.pid).children()[0]
    dead.kill()
    dead.wait(PATIENCE)

    def replaced(client: httpx.Client) -> bool:
        workers = psutil.Process(several.pid).children()
        ready, counted = (metric(client, f"ganserve_{name}") for name in ("ready", "processes"))
        return ready == 1 and counted == len(workers) == COUNT and dead not in workers

    with once_each(several) as client:
        until(lambda: replaced(client))
        # What it had answered was answered all the same.
        assert metric(client, name) == served
    assert {answer.status_code for answer in answered(several, range(50))} == {200}
    with several.client() as client:
        assert metric(client, name) == served + 250
    assert count_files(several) == files


def count_files(server: Server) -> int:
    """How many files the processes keep their metrics in."""
    return len(list(server.log.parent.glob("ganserve-*/*.db")))


def test_a_reload_replaces_all_and_reads_the_shelf_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    shelf.place(tiny_generator())
    with started(shelf.root, tmp_path / "log", tmp_path, processes=2) as (process, url):
        server = Server(url, tmp_path / "log", process.pid)
        for version in (2, 3):  # the second reload numbers them as before
            with once_each(server) as client:
                until(lambda: is_ready(client) and metric(client, "ganserve_processes") == 2)
            before = psutil.Process(process.pid).children()
            shelf.place(tiny_generator())
            os.kill(process.pid, signal.SIGHUP)
            assert not psutil.wait_procs(before, PATIENCE)[1]
            answers = answered(server, range(20))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["Ganserve-Model"] for answer in answers} == {f"tiny:{version}"}
            assert len(psutil.Process(process.pid).children()) == 2
        assert process.poll() is None
    assert process.returncode == 0


def test_one_that_cannot_be_replaced_ends_the_server(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    generator = shelf.place(tiny_generator())
    with started(shelf.root, tmp_path / "log", tmp_path, processes=2) as (process, url):
        with httpx.Client(base_url=url) as client:
            until(lambda: is_ready(client))
            until(lambda: metric(client, "ganserve_processes") == 2)
        generator.path.write_bytes(b"")
        psutil.Process(process.pid).children()[0].kill()
        assert process.wait(PATIENCE) == 1
    assert "model.onnx: its SHA-256 is " in (tmp_path / "log").read_text()


def test_it_is_ready_when_all_are(tmp_path: Path) -> None:
    shelf, log = Shelf(tmp_path / "shelf"), tmp_path / "log"
    shelf.place(tiny_generator())
    with started(shelf.root, log, tmp_path, processes=2) as (process, url):
        until(lambda: len(psutil.Process(process.pid).children()) == 2)
        late = psutil.Process(process.pid).children()[0]
        late.suspend()  # while it imports
        try:
            with httpx.Client(base_url=url) as client:
                until(lambda: "Ready: tiny:1" in log.read_text())
                assert client.post("/generate", json={}).status_code == 200
                assert not is_ready(client)
                late.resume()
                until(lambda: is_ready(client))
                until(lambda: log.read_text().count("Ready: tiny:1") == 2)
        finally:
            late.resume()


def test_sigterm_ends_all_and_leaves_no_file(shelf: Shelf) -> None:
    with running(shelf.root, processes=2) as server:
        workers = psutil.Process(server.pid).children()
        home = server.log.parent
        assert list(home.glob("ganserve-*/*.db"))
        os.kill(server.pid, signal.SIGTERM)
        with server.client() as client:
            until(lambda: not is_ready(client))
        _, alive = psutil.wait_procs(workers, PATIENCE)
        assert not alive
        until(lambda: not list(home.glob("ganserve-*")))


def test_a_cpu_gets_a_process_a_thread_and_a_gpu_one() -> None:
    for threads, expected in ((1, 1), (2, 2), (64, MOST)):
        assert Settings(device="cpu", threads=threads).processes == expected
        assert Settings(device="cuda", threads=threads).processes == 1
    assert Settings(device="cpu", threads=2, processes=3).processes == 3
