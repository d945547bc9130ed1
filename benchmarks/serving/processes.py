"""Servers as processes: started, waited for, measured with all that they start, and ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.serving.failures import NotStarted

PATIENCE = 120.0  # seconds for a server to come up
GRACE = 10.0  # seconds for a server to go down


class Tree:
    """A process and everything that it started."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return sum(self._of_each(lambda process: sum(process.cpu_times()[:4])))

    def megabytes(self) -> float:
        """Memory, where processes share pages in shares of it (PSS)."""
        return sum(self._of_each(lambda process: process.memory_full_info().pss)) / 1e6

    def _of_each(self, measure: Callable[[psutil.Process], float]) -> list[float]:
        values = []
        for process in (self._root, *self._root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                values.append(measure(process))
        return values


def end_servers_at_signals() -> None:
    """Make Ctrl-C and SIGTERM leave through `running`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path, ready: str
) -> Iterator[Tree]:
    """The processes of a command once `ready`, a URL, answers 200; they are ended in the end.

    It runs in `folder`, its environment is `variables`, and what it prints goes to `log`. Raises NotStarted.
    """
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise NotStarted(str(error)) from None
    try:
        _wait(process, ready, log)
        yield Tree(process.pid)
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(ready):
        if process.poll() is not None:
            raise NotStarted(f"it ended with {process.returncode}: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise NotStarted(f"it was not ready within {PATIENCE:g} s: {_last_line(log)}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - a URL of our own making
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it printed nothing")[:200]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, its group, and those of its descendants that left the group."""
    descendants = []
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
    try:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()
        for descendant in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
        psutil.wait_procs(descendants, GRACE)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
