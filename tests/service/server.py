"""A really running server: `bentoml serve` in a process of its own, on a free port."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


@dataclass(frozen=True)
class Server:
    """`url` answers; what the server prints goes to `log`; `pid` is of its supervisor."""

    url: str
    log: Path
    pid: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, limits=httpx.Limits(max_connections=64))


@contextlib.contextmanager
def started(
    shelf: Path, log: Path, home: Path, *, config: Path | None = None, **settings: object
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process of a server that comes up, and its URL; it is stopped in the end.

    config: BentoML's; `settings` without the prefix GANSERVE_.
    """
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GANSERVE_", "BENTOML_"))
    }
    environment |= {"BENTOML_HOME": str(home), "TMPDIR": str(home), "GANSERVE_MODELS": str(shelf)}
    # So that whatever would be sent to BentoML's makers is printed instead, and seen by the tests.
    environment["__BENTOML_DEBUG_USAGE"] = "True"
    environment |= {"GANSERVE_DRAIN": "0", "GANSERVE_PROCESSES": "1"}
    # As in the images that BentoML builds, in which it would replace no process that dies.
    environment["BENTOML_CONTAINERIZED"] = "true"
    environment |= {f"GANSERVE_{name.upper()}": str(value) for name, value in settings.items()}
    if config:
        environment["BENTOML_CONFIG"] = str(config)
    command = [sys.executable, "-m", "bentoml", "serve", "service.service:Ganserve"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for worker in psutil.Process(process.pid).children():
                worker.kill()
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def running(shelf: Path, *, config: Path | None = None, **settings: object) -> Iterator[Server]:
    """A server that is ready, and is stopped in the end; for the others see `started`."""
    with tempfile.TemporaryDirectory(prefix="ganserve-") as folder:
        log = Path(folder, "log")
        with started(shelf, log, Path(folder), config=config, **settings) as (process, url):
            server = Server(url, log, process.pid)
            with server.client() as client:
                deadline = time.monotonic() + PATIENCE
                while not is_ready(client):
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield server


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
