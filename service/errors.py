"""How the service says no: to clients with `{"error": {"message", "field", "expected"}}`, always."""

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bentoml.service")


class Refusal(Exception):
    """A request that is not served: for the client, and so never with a traceback.

    `field` is what is wrong in the request, such as "n" or "body", and None where it is not the request;
    `expected` is what would have been right.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        field: str | None = None,
        expected: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.expected = expected
        self.headers = headers

    def response(self) -> Response:
        return Response(
            _body(self.message, self.field, self.expected),
            self.status,
            self.headers,
            media_type="application/json",
        )


def _body(message: str, field: str | None, expected: str | None) -> bytes:
    # In ASCII, because what a client sent and is quoted need not be encodable in UTF-8.
    return json.dumps({"error": {"message": message, "field": field, "expected": expected}}).encode("ascii")


class EngineError(Exception):
    """There is no such device, or it cannot load or run a generator; one line for an operator."""


class DeviceLost(Exception):
    """The device has failed, and computes nothing any more; one line for an operator."""


def in_short(error: Exception) -> str:
    """What ONNX Runtime says, in one line; of a failure of CUDA without the C++ around it."""
    line = " ".join(str(error).split())
    failure = re.search(r"CU\w+ failure -?\d+: [^;]*[^; ]", line)
    return failure[0] if failure else line


class JsonErrors:
    """ASGI middleware that gives the errors of the framework the same shape: no such path, no such method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rewriter = _Rewriter(send, scope["path"], scope["method"])
        try:
            await self._app(scope, receive, rewriter.send)
        except Exception:
            # Passed on, an exception would keep BentoML's timeout waiting for an answer until it is over.
            if rewriter.started:
                raise
            logger.exception("an answer failed")
            await rewriter.send({"type": "http.response.start", "status": 500, "headers": []})
            await rewriter.send({"type": "http.response.body"})


class _Rewriter:
    """Holds an error back until its body is whole, then sends it in our shape."""

    def __init__(self, send: Send, path: str, method: str) -> None:
        self._send = send
        self._path = path
        self._method = method
        self.started = False
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        self.started = True
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._start)

    async def _send_error(self, start: Message) -> None:
        body = self._body if _is_ours(self._body) else _body(self._describe(start["status"]), None, None)
        kept = [
            (name, value)
            for name, value in start["headers"]
            if name.lower() not in (b"content-length", b"content-type")
        ]
        described = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send({**start, "headers": kept + described})
        await self._send({"type": "http.response.body", "body": body})

    def _describe(self, status: int) -> str:
        match status:
            case HTTPStatus.NOT_FOUND:
                there_are = "POST /generate, GET /models, GET /metrics, GET /openapi.json and GET /"
                return f"there is nothing at {self._path}; there are {there_are}"
            case HTTPStatus.METHOD_NOT_ALLOWED:
                return f"{self._method} is not what {self._path} answers; see its Allow header"
            case HTTPStatus.SERVICE_UNAVAILABLE:
                return (
                    "not ready: warming up, about to stop, or its device failed; the server's log says which"
                )
            case HTTPStatus.INTERNAL_SERVER_ERROR:
                return "something went wrong here, not in your request; the server's log says what"
            case _:
                return responses.get(status, "this cannot be answered")


def _is_ours(body: bytes) -> bool:
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)
