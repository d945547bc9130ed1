"""The ports that tests take."""

import socket

import pytest

from tests.ports import EACH, first_of_clients, free_port, own_ports


def test_no_port_is_given_twice_and_none_is_one_of_clients() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(1024 < port < first_of_clients() for port in ports)


def test_a_port_that_somebody_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    monkeypatch.setattr("tests.ports._unused", iter([taken, free]))
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port() == free


def test_workers_share_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: set[int] = set()
    for worker in range(64):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        ports.update(own_ports())
    assert len(ports) == 64 * EACH
