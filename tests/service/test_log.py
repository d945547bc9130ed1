"""How the lines of the log are written, beside other processes, and where they cannot be."""

import asyncio
import contextlib
import io
import json
import select
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from service.access import Access


class Pipe(io.RawIOBase):
    """Keeps what each write gives it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self.writes.append(bytes(content))
        return len(content)


async def application(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def send(_: object) -> None: ...


def request(path: str = "/models") -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": []}


def stdout(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    pipe = Pipe()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe)))
    return pipe


@pytest.mark.parametrize("path", ["/generate", "/" + "x" * 300])
def test_the_kernel_gets_whole_lines_that_it_keeps_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write of at most PIPE_BUF bytes is never cut in two by another process's (POSIX, write)."""
    pipe = stdout(monkeypatch)

    async def main() -> None:
        access = Access(application, sample=1)
        await asyncio.gather(*(access(request(path), send, send) for _ in range(100)))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    asyncio.run(main())
    assert all(len(one) <= select.PIPE_BUF and one.endswith(b"\n") for one in pipe.writes)
    assert 1 < len(pipe.writes) < 50
    lines = b"".join(pipe.writes).splitlines()
    assert len({json.loads(line)["request_id"] for line in lines}) == 100


def test_lines_go_where_they_went_while_a_library_is_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = stdout(monkeypatch)

    async def main() -> None:
        access = Access(application, sample=1)
        with contextlib.redirect_stdout(io.StringIO()):
            await access(request(), send, send)  # type: ignore[arg-type]
            await asyncio.sleep(0)

    asyncio.run(main())
    [line] = b"".join(pipe.writes).splitlines()
    assert json.loads(line)["path"] == "/models"


def test_what_is_cancelled_is_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """BentoML cancels what hangs, and answers it with 504."""
    pipe = stdout(monkeypatch)

    async def hang(*_: object) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await Access(hang, sample=1)(request(), send, send)  # type: ignore[arg-type]
        await asyncio.sleep(0)

    answered = {"route": "/models", "status": "504"}
    before = REGISTRY.get_sample_value("ganserve_requests_total", answered) or 0
    asyncio.run(main())
    assert REGISTRY.get_sample_value("ganserve_requests_total", answered) == before + 1
    [line] = b"".join(pipe.writes).splitlines()
    assert json.loads(line)["status"] == 504


def test_lines_that_cannot_be_written_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:

    async def main() -> None:
        access = Access(application, sample=1)
        await asyncio.gather(*(access(request(), send, send) for _ in range(3)))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    before = REGISTRY.get_sample_value("ganserve_log_lines_lost_total") or 0
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full))
        asyncio.run(main())
    assert REGISTRY.get_sample_value("ganserve_log_lines_lost_total") == before + 3
