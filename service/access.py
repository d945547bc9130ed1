"""What is known of every request: an id that the answer carries, a line in the log, and the metrics."""

import asyncio
import random
import re
import select
import sys
import time
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import metrics

# Where in the scope a request notes what its line in the log is to say of it.
NOTES = "ganserve.notes"
ROUTES = ("/generate", "/models", "/", "/openapi.json", "/metrics", "/livez", "/healthz", "/readyz")
OTHER = "other"
# They are asked for every few seconds, by machines.
PROBES = ("/metrics", "/livez", "/healthz", "/readyz")

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
# W3C Trace Context, section 3.2.2: neither the version ff nor an id of zeros is valid
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Access:
    """ASGI middleware that numbers, times, counts and logs requests.

    The log has one line of JSON for a share of `sample` of the requests, and for every failure (status 500
    and above, except 503), but none for probes. A request id is taken from X-Request-ID or drawn.
    """

    def __init__(self, app: ASGIApp, *, sample: float) -> None:
        self._app = app
        self._sample = sample
        self._log = _Log()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        route = scope["path"] if scope["path"] in ROUTES else OTHER
        metrics.of(metrics.REQUESTS_IN_PROGRESS, route).inc()
        try:
            await self._app(scope, receive, exchange.send)
        except asyncio.CancelledError:
            exchange.status = 504  # by BentoML, which ends what hangs
            raise
        finally:
            metrics.of(metrics.REQUESTS_IN_PROGRESS, route).dec()
            seconds = time.monotonic() - exchange.began
            metrics.of(metrics.REQUESTS, route, exchange.status).inc()
            metrics.of(metrics.REQUEST_SECONDS, route).observe(seconds)
            failed = exchange.status >= 500 and exchange.status != 503
            if route not in PROBES and (failed or random.random() < self._sample):  # noqa: S311 - no secret
                self._log.write(exchange.line(seconds))


class _Log:
    """Writes the lines of one turn of the event loop at once.

    Python's logging would take ten times as long, most of it to find out who calls.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        # While a device is loaded, sys.stdout is another one: what libraries print then is kept quiet.
        self._out = sys.stdout.buffer

    def write(self, line: bytes) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(line + b"\n")

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        while lines:
            fitting = _fitting(lines)
            try:
                self._out.write(b"".join(lines[:fitting]))
                self._out.flush()
            except OSError:
                metrics.LOG_LINES_LOST.inc(fitting)
            del lines[:fitting]


def _fitting(lines: list[bytes]) -> int:
    """How many of the first lines the kernel takes whole when several processes write (POSIX, write)."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line)
        if size > select.PIPE_BUF:
            return max(1, number)
    return len(lines)


class _Exchange:
    """One request and what is sent for it; an exception before any answer counts as a 500."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.monotonic()
        self.status = 500
        self._scope = scope
        self._send = send
        self._bytes = 0
        self._notes: dict[str, Any] = {}
        scope[NOTES] = self._notes
        headers = dict(scope["headers"])
        self._parent = headers.get(b"traceparent", b"")
        given = headers.get(b"x-request-id", b"")
        self._id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._id.encode("ascii"))]
            message = {**message, "headers": headers}
        else:
            self._bytes += len(message.get("body", b""))
        await self._send(message)

    def line(self, seconds: float) -> bytes:
        # JSON's escapes leave nothing in a path that could pass for another line.
        client = self._scope.get("client")
        return to_json(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request_id": self._id,
                "trace_id": self._trace_id(),
                "client": client[0] if client else None,
                "method": self._scope["method"],
                "path": self._scope["path"][:200],
                "status": self.status,
                "bytes": 0 if self.status == 499 or self._scope["method"] == "HEAD" else self._bytes,
                "seconds": round(seconds, 6),
                **self._notes,
            }
        )

    def _trace_id(self) -> str | None:
        """The trace that the request is a part of, the one of OpenTelemetry when it traces."""
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return trace.format_trace_id(span.trace_id)
        parent = _TRACEPARENT.match(self._parent)
        return parent[1].decode() if parent else None
