"""Pages of other origins, which a browser lets read an answer only where the server says so."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from models.shelf import Shelf
from tests.service.server import running

GALLERY = "https://gallery.example"
CONFIG = f"""
services:
  Ganserve:
    http:
      cors:
        enabled: true
        access_control_allow_origins: ["{GALLERY}"]
        access_control_allow_headers: ["Content-Type"]
        access_control_allow_methods: ["GET", "POST"]
        access_control_expose_headers: ["Ganserve-Seed"]
"""


@pytest.fixture(scope="module")
def client(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    config: Path = tmp_path_factory.mktemp("config") / "bentoml.yaml"
    config.write_text(CONFIG)
    with running(shelf.root, config=config) as server, server.client() as client:
        yield client


def ask(client: httpx.Client, origin: str | None, **body: object) -> httpx.Response:
    headers = {"Origin": origin} if origin else {}
    return client.post("/generate", json={"model": "convolutional", "seed": 5} | body, headers=headers)


@pytest.mark.parametrize(("body", "status"), [({}, 200), ({"n": 0}, 422)])
def test_answers_and_errors_are_for_the_pages_that_are_allowed(
    client: httpx.Client, body: dict[str, object], status: int
) -> None:
    answer = ask(client, GALLERY, **body)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == GALLERY
    assert answer.headers["Access-Control-Expose-Headers"] == "Ganserve-Seed"


def test_other_pages_are_not_let_in(client: httpx.Client) -> None:
    assert "Access-Control-Allow-Origin" not in ask(client, "https://other.example").headers


def test_a_page_gets_what_others_get(client: httpx.Client) -> None:
    from_page, other = ask(client, GALLERY), ask(client, None)
    assert from_page.content == other.content
    of_the_answer = [name for name in other.headers if name.startswith(("ganserve-", "content-"))]
    assert {name: from_page.headers[name] for name in of_the_answer} == {
        name: other.headers[name] for name in of_the_answer
    }


def test_a_browser_may_ask_before_it_sends(client: httpx.Client) -> None:
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = client.options("/generate", headers={"Origin": GALLERY} | question)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == GALLERY
