"""Which of the processes that share the port a client is connected to: it may be told to connect anew.

Processes take connections as they come, and when many come at once the first to wake takes them all, for as
long as they are kept: of 16, in eight tries, both processes had 8 once, and one had all of them twice.
"""

import time
from collections.abc import Callable
from statistics import fmean

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.shared_count import SharedCount

# So many rows more than the others have are no reason to send anybody away.
LEEWAY = 2
# Seconds between two clients who are sent away, so that they do not all meet at the other process.
PAUSE = 0.05


class Connections:
    """ASGI middleware that has clients close their connection after an answer.

    All of them while `leaving`, before the process closes the connection under their next request. Else one
    now and then where this process has more than twice as many `rows` to make as the others that are present
    have on average: whichever process waits for a connection first takes the next one.
    """

    def __init__(self, app: ASGIApp, *, leaving: Callable[[], bool], rows: SharedCount) -> None:
        self._app = app
        self._leaving = leaving
        self._rows = rows
        self._next = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_away(message: Message) -> None:
            if message["type"] == "http.response.start" and (self._leaving() or self._have_too_many()):
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_away)

    def _have_too_many(self) -> bool:
        own = self._rows.own
        if own <= LEEWAY or (now := time.monotonic()) < self._next:
            return False
        others = self._rows.others
        if not others or own <= 2 * fmean(others) + LEEWAY:
            return False
        self._next = now + PAUSE
        return True
