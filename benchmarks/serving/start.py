"""Starts a server of the table in an environment of its own, on a free port."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import environments
from benchmarks.serving.processes import Tree, running
from benchmarks.serving.servers import Server

# What belongs to this process, and would change what the servers do.
_NOT_HANDED_ON = ("BENTOML_", "GANSERVE_", "MAKE", "MFLAGS", "OMP_", "PYTHON", "RAY_", "VIRTUAL_ENV")

# Linux gives clients ports from 32768 on: they could take one of those before the server has it.
_PORTS = iter(range(20_000, 32_768))

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Started:
    url: str
    tree: Tree


def programs(server: Server) -> Path:
    """The folder of the server's programs, which are installed unless they are there.

    Raises NotInstalled.
    """
    return environments.build(server.environment) if server.environment else environments.OURS


@contextlib.contextmanager
def started(server: Server, model: Path) -> Iterator[Started]:
    """The server with the generator at `model`, which stands on a shelf of its own.

    Raises Failure.
    """
    port = _free_port()
    command = server.command.format(bin=programs(server), port=port, cores=CORES).split()
    url = f"http://127.0.0.1:{port}"
    # A short name, for sockets lie there.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        own = Path(folder)
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)},
            **_variables(own, model, 1 if server.one_thread else CORES),
            **server.variables,
        }
        with running(command, environments.ROOT, variables, own / "log", url + server.ready) as tree:
            yield Started(url, tree)


def _free_port() -> int:
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


def _variables(own: Path, model: Path, threads: int) -> dict[str, str]:
    metrics = own / "metrics"
    metrics.mkdir()
    return {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(own),
        "GANSERVE_DEVICE": "cpu",
        "GANSERVE_MODELS": str(model.parents[2]),
        "MODEL": str(model),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PYTHONPATH": str(environments.ROOT),
        "THREADS": str(threads),
        "TMPDIR": str(own),
    }
