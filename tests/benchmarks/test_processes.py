import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.serving.failures import NotStarted
from benchmarks.serving.processes import running
from tests.ports import free_port

# A server that starts another process, in a session of its own, and tells its id.
SERVER = """
import http.server, pathlib, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[2]).write_text(str(other.pid))
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def test_a_server_and_all_that_it_started_are_measured_and_ended(tmp_path: Path) -> None:
    port = free_port()
    told = tmp_path / "pid"
    command = [sys.executable, "-c", SERVER, str(port), str(told)]
    url = f"http://127.0.0.1:{port}"
    with running(command, tmp_path, os.environ, tmp_path / "log", url) as tree:
        other = psutil.Process(int(told.read_text()))
        assert other.is_running()
        assert tree.cpu_seconds() > 0
        assert tree.megabytes() > 1
    assert not other.is_running()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_what_does_not_come_up_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('there is no such model'); raise SystemExit(3)"]
    with (
        pytest.raises(NotStarted, match="it ended with 3: there is no such model"),
        running(command, tmp_path, os.environ, tmp_path / "log", "http://127.0.0.1:1"),
    ):
        pytest.fail("it is up")


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match="No such file"),
        running(["/no/program"], tmp_path, {}, tmp_path / "log", "http://127.0.0.1:1"),
    ):
        pytest.fail("it is up")
