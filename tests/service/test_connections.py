import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.connections import PAUSE, Connections
from service.shared_count import SharedCount

pytestmark = pytest.mark.usefixtures("two_processes")

REQUEST = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def answer(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body"})


def closed(connections: Connections, times: int = 1) -> list[bool]:
    """Whether each of so many answers closes its connection."""
    told: list[bool] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert (b"a", b"b") in message["headers"]
            told.append((b"connection", b"close") in message["headers"])

    async def ask() -> None:
        for _ in range(times):
            await connections(REQUEST, asyncio.Future, send)

    asyncio.run(ask())
    return told


def test_answers_that_begin_while_the_service_leaves_close_the_connection() -> None:
    leaving = False

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal leaving
        leaving = not leaving  # while the request is being answered
        await answer(scope, receive, send)

    connections = Connections(application, leaving=lambda: leaving, rows=SharedCount("rows"))
    assert closed(connections, times=2) == [True, False]


@pytest.mark.parametrize(
    ("own", "other", "sent_away"), [(2, 0, False), (3, 0, True), (8, 3, False), (9, 3, True), (9, 9, False)]
)
def test_who_has_far_more_to_do_than_the_other_sends_one_away(
    own: int, other: int, sent_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    rows, others = SharedCount("rows", 0), SharedCount("rows", 1)
    connections = Connections(answer, leaving=lambda: False, rows=rows)
    rows.own, others.own = own, other
    assert closed(connections, times=3) == [sent_away, False, False]
    now += PAUSE
    assert closed(connections) == [sent_away]
    now += PAUSE
    others.present = False  # warming up
    assert closed(connections) == [False]


def test_a_process_by_itself_sends_nobody_away() -> None:
    rows = SharedCount("rows", 0)
    rows.own = 100
    connections = Connections(answer, leaving=lambda: False, rows=rows)
    assert closed(connections) == [False]
