"""The shape of errors, also of those that the framework makes."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import JsonErrors, Refusal


def get(answer: Response | HTTPException, path: str = "/it", method: str = "GET") -> httpx.Response:
    """The answer of an application behind the middleware."""

    def endpoint(_: Request) -> Response:
        if isinstance(answer, HTTPException):
            raise answer
        return answer

    return asyncio.run(call(Starlette(routes=[Route("/it", endpoint)]), path, method))


async def call(app: ASGIApp, path: str = "/it", method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(JsonErrors(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path)


def error(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    document = answer.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "field", "expected"}
    return document["error"]  # type: ignore[no-any-return]


def test_a_refusal_names_the_field_and_what_was_expected() -> None:
    refusal = Refusal(422, "n is 0", field="n", expected="1 to 256", headers={"Retry-After": "3"})  # type: ignore[arg-type]
    answer = get(refusal.response())
    assert answer.status_code == 422
    assert answer.headers["Retry-After"] == "3"
    assert error(answer) == {"message": "n is 0", "field": "n", "expected": "1 to 256"}


def test_a_refusal_may_quote_what_utf8_cannot_encode() -> None:
    refusal = Refusal(404, "no \ud800", field="\ud800")  # type: ignore[arg-type]
    assert json.loads(bytes(refusal.response().body))["error"]["field"] == "\ud800"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (PlainTextResponse("nothing here", 404), "/it"),
        (JSONResponse({"error": "An unexpected error has occurred"}, 500), "log"),
        (JSONResponse([], 400), "Bad Request"),
        (Response(b"\xff", 400), "Bad Request"),
        (Response(status_code=499), "cannot be answered"),
        (HTTPException(503), "not ready"),
        (StreamingResponse(iter([b"some", b"thing"]), 502), "Bad Gateway"),
    ],
)
def test_errors_of_the_framework_get_our_shape(answer: Response | HTTPException, message: str) -> None:
    got = get(answer)
    assert got.status_code == answer.status_code
    assert message in error(got)["message"]


def test_paths_and_methods_that_there_are_not() -> None:
    missing = get(Response(), path="/other")
    assert (missing.status_code, "/other" in error(missing)["message"]) == (404, True)
    wrong = get(Response(), method="DELETE")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "DELETE" in error(wrong)["message"]


def test_an_application_that_raises_is_an_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    answer = asyncio.run(call(broken))
    assert answer.status_code == 500
    assert "not in your request" in error(answer)["message"]
    assert "ZeroDivisionError" in caplog.text


def test_an_application_that_raises_in_the_middle_ends_the_answer() -> None:
    async def broken(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(call(broken))


@pytest.mark.parametrize(
    "answer", [PlainTextResponse("fine"), JSONResponse({"error": "no"}), Response(status_code=204)]
)
def test_what_is_no_error_passes_as_it_is(answer: Response) -> None:
    got = get(answer)
    assert (got.status_code, got.content) == (answer.status_code, answer.body)
