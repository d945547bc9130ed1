"""Ports for the servers of tests."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

GIVEN_TO_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
WORKERS, EACH = 100, 200


def free_port() -> int:
    """A port of the loopback that nobody has, nor gets from another test or the kernel before it is used."""
    for port in _unused:
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise RuntimeError(f"none of this process's {EACH} ports is left")


def own_ports() -> Iterator[int]:
    """Others for each worker of pytest-xdist; another run of the tests beside this one begins elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = first_of_clients() - EACH * (worker % WORKERS + 1)
    for i in range(EACH):
        yield first + (os.getpid() + i) % EACH


def first_of_clients() -> int:
    """The first port that the kernel may give to a client; where those leave too few below, Linux's usual."""
    first = int(GIVEN_TO_CLIENTS.read_text().split()[0]) if GIVEN_TO_CLIENTS.exists() else 0
    return first if first > 1024 + WORKERS * EACH else 32768


_unused = own_ports()
