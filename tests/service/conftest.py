"""One shelf and one running server for all tests of the service, and what processes share."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from models.shelf import Shelf
from service import SHARED_FOLDER, shared
from tests.generators import tiny_generator
from tests.service.clock import Clock
from tests.service.generators import convolutional_generator
from tests.service.server import Server, running


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A conditional RGB generator that computes as trained ones do, and two of an unconditional grey one."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    shelf.place(convolutional_generator())
    for latent_dim in (8, 12):
        shelf.place(
            tiny_generator("grey", classes=(), channels=1, latent_dim=latent_dim, truncation="mapping")
        )
    return shelf


@pytest.fixture(scope="session")
def server(shelf: Shelf) -> Iterator[Server]:
    with running(shelf.root) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.admission.time", clock)
    return clock


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What BentoML's supervisor gives to processes that share a port."""
    monkeypatch.setenv(SHARED_FOLDER, "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared.share(2)
    yield
    shared.remove()
