"""The HTTP surfaces: POST /generate, GET /models, /metrics and /openapi.json, and a page for people at /."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service import metrics, openapi
from service.access import NOTES
from service.archive import Buffer
from service.catalogue import Catalogue
from service.errors import Refusal

if TYPE_CHECKING:
    from service.dispatch import Made
    from service.generation import Answer, Generation

T = TypeVar("T")

# Who leaves within so many seconds is noticed after them: most answers are done by then, unwatched.
BRIEF = 0.02
PAGE = Path(__file__).with_name("page.html")


class ClientGone(Exception):
    """Nobody is there to answer any more."""


class Direct:
    """ASGI middleware that has POST /generate answered by `respond`, unless a page in a browser asks.

    BentoML's wrapping of an API, which gives the same images, costs more than the rest of the way together.
    It holds what says which pages may read an answer (CORS), and so is the way of requests with an Origin.
    """

    def __init__(self, app: ASGIApp, *, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["path"] == "/generate" and scope["method"] == "POST":
            request = Request(scope, receive)
            if "origin" not in request.headers:
                app = await self._respond(request)
        await app(scope, receive, send)


class Buffers(Response):
    """Bytes that lie in several buffers, sent without being copied into one."""

    def __init__(self, buffers: Sequence[Buffer], *, headers: dict[str, str], media_type: str) -> None:
        length = str(sum(map(len, buffers)))
        super().__init__(headers=headers | {"Content-Length": length}, media_type=media_type)
        self._buffers = buffers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *others, last = self._buffers
        for buffer in others:
            await send({"type": "http.response.body", "body": buffer, "more_body": True})
        await send({"type": "http.response.body", "body": last})


async def generate(
    request: Request, generation: "Generation", *, body_limit: int, seconds: float
) -> Response:
    """The answer to POST /generate within so many `seconds`; a refusal is an answer too."""
    deadline = time.monotonic() + seconds
    try:
        body = await _read_in_time(request, body_limit, seconds)
        # several lines are one list (RFC 9110, section 5.3)
        accept = ", ".join(request.headers.getlist("accept")) or None
        answering = generation.answer(body, accept, deadline)
        made = await _unless_gone(answering, request.receive)
    except Refusal as refusal:
        # In ASCII, because what a client sent and is quoted need not be encodable in UTF-8.
        error = refusal.message.encode("ascii", "backslashreplace").decode()
        request.scope.get(NOTES, {})["error"] = error
        return refusal.response()
    except (ClientGone, ClientDisconnect):
        # Not sent to anybody: it is what the access log and the metrics say (as in nginx).
        return Response(status_code=499)
    request.scope.get(NOTES, {}).update(_notes(made))
    answer = made.result
    return Buffers(answer.content, headers=_headers(answer), media_type=answer.form.media_type)


def around(catalogue: Catalogue) -> Starlette:
    """The application for the rest, with a page at GET / that is ours: BentoML's has a tracker."""
    page = PAGE.read_bytes()

    def list_models(_: Request) -> Response:
        return JSONResponse(catalogue.describe())

    def show_metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry()), media_type=media_type)

    def show_page(_: Request) -> Response:
        return HTMLResponse(page)

    def show_description(_: Request) -> Response:
        return JSONResponse(openapi.describe())

    return Starlette(
        routes=[
            Route("/models", list_models),
            Route("/metrics", show_metrics),
            Route("/openapi.json", show_description),
            Route("/", show_page),
        ]
    )


async def _read_in_time(request: Request, limit: int, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await _read_json(request, limit)
    except TimeoutError:
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not arrive whole within {seconds:g} s",
            field="body",
            expected="a whole body, or none",
            headers={"Connection": "close"},  # or else what is still to come would be read, to be dropped
        ) from None


async def _read_json(request: Request, limit: int) -> bytes:
    """The body, as it came.

    Raises Refusal when it is too large or said to be no JSON.
    """
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if body and not is_json:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be {media_type[:60]!r}, expected application/json",
            field="Content-Type",
            expected="application/json (curl: -H 'Content-Type: application/json')",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if body and encoding not in ("", "identity"):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be encoded as {encoding[:60]!r}",
            field="Content-Encoding",
            expected="a body as it is, without Content-Encoding",
        )
    return bytes(body)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body has more than {limit} bytes",
        field="body",
        expected=f"at most {limit} bytes",
    )


async def _unless_gone(work: Coroutine[None, None, T], receive: Receive) -> T:
    """The outcome of the work, which is cancelled when the client disconnects before.

    Raises ClientGone.
    """
    working = asyncio.current_task()
    assert working is not None  # noqa: S101 - a coroutine always runs in a task here
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    watching: asyncio.TimerHandle | asyncio.Task[None]

    def begin() -> None:
        nonlocal watching
        watching = asyncio.create_task(watch())

    watching = asyncio.get_running_loop().call_later(BRIEF, begin)
    try:
        return await work
    except asyncio.CancelledError:
        # As asyncio.timeout does it: ours to handle, unless somebody else cancelled as well.
        if gone and working.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        watching.cancel()


def _headers(answer: "Answer") -> dict[str, str]:
    generator, generated = answer.generator, answer.generated
    headers = {"Ganserve-Model": generator.reference, "Ganserve-Digest": generator.digest}
    name = f"{generator.name}-{generator.version}"
    if generated.seed is not None:
        first = int(generated.indices[0])
        headers |= {"Ganserve-Seed": str(generated.seed), "Ganserve-Index": str(first)}
        name += f"-seed-{generated.seed}-index-{first}"
    shown = "inline" if answer.form.media_type.startswith("image/") else "attachment"
    headers["Content-Disposition"] = f'{shown}; filename="{name}.{answer.form.extension}"'
    return headers


def _notes(made: "Made[Answer]") -> dict[str, Any]:
    answer = made.result
    return {
        "model": answer.generator.reference,
        "rows": len(answer.generated.images),
        "format": answer.form.name,
        "queue_seconds": round(made.queue_seconds, 6),
        "compute_seconds": round(made.compute_seconds, 6),
        "encode_seconds": round(answer.encode_seconds, 6),
    }
