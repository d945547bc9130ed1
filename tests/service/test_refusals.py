"""What the running server does not serve, and how it says so."""

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.service.server import Server

OK_LATENT = [0.0] * 16


def refused(answer: httpx.Response, status: int, field: str | None) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert "Traceback" not in answer.text
    document = answer.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "field", "expected"}
    assert document["error"]["field"] == field
    return document["error"]  # type: ignore[no-any-return]


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/generate", content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("fields", "field", "expected"),
    [
        ({"format": " " * 98 + "png"}, "format", "one of png"),
        ({"n": 0}, "n", "1 to 256"),
        ({"n": 257}, "n", "1 to 256"),
        ({"n": -1}, "n", "1 to 256"),
        ({"n": 4.0}, "n", "integer"),
        ({"n": "4"}, "n", "integer"),
        ({"n": True}, "n", "integer"),
        ({"n": 10**100}, "n", "1 to 256"),
        ({"seed": -1}, "seed", "0 to 2**63 - 1"),
        ({"seed": 2**63}, "seed", "0 to 2**63 - 1"),
        ({"seed": 1.5}, "seed", "integer"),
        ({"index": -1}, "index", "0 to 2**63 - 1"),
        ({"index": 2**63}, "index", "0 to 2**63 - 1"),
        ({"index": 2**63 - 1, "n": 2}, "index", "2**63"),
        ({"label": "d"}, "label", "a, b, c"),
        ({"label": 3}, "label", "0 to 2"),
        ({"label": -1}, "label", "0 to 2"),
        ({"label": [-1]}, "label[0]", "0 to 2"),
        ({"n": 256, "label": ["a"] * 257}, "label", "list of n"),
        ({"label": True}, "label", "class"),
        ({"label": 1.0}, "label", "class"),
        ({"n": 3, "label": ["a", "b"]}, "label", "3"),
        ({"n": 2, "label": ["a", "z"]}, "label[1]", "a, b, c"),
        ({"label": []}, "label", "1"),
        ({"truncation": 0}, "truncation", "above 0"),
        ({"truncation": -0.5}, "truncation", "above 0"),
        ({"truncation": "1"}, "truncation", "number"),
        ({"latents": [[0.0] * 15], "label": "a"}, "latents[0]", "16 numbers"),
        ({"latents": [OK_LATENT, [0.0] * 17], "label": "a"}, "latents[1]", "16 numbers"),
        ({"latents": [[*OK_LATENT[:15], "0"]], "label": "a"}, "latents[0][15]", "numbers"),
        ({"latents": [[*OK_LATENT[:15], 1e39]], "label": "a"}, "latents[0][15]", "float32"),
        ({"latents": [], "label": "a"}, "latents", "1 to 256 lists"),
        ({"latents": [OK_LATENT] * 257, "label": "a"}, "latents", "1 to 256 lists"),
        ({"latents": [OK_LATENT], "n": 2, "label": "a"}, "latents", "as many"),
        ({"latents": [OK_LATENT], "seed": 1, "label": "a"}, "seed", "only one"),
        ({"latents": [OK_LATENT], "index": 1, "label": "a"}, "index", "only one"),
        ({"latents": [OK_LATENT], "truncation": 1, "label": "a"}, "truncation", "latents"),
        ({"latents": [OK_LATENT]}, "label", "class"),
        ({"model": "grey", "label": 0}, "label", "no classes"),
        ({"model": "grey", "truncation": 1e300}, "truncation", "float32"),
        ({"format": "gif"}, "format", "png"),
        ({"format": 1}, "format", "png"),
        ({"model": 1}, "model", "name"),
        ({"sede": 1}, "sede", "seed"),
        ({"Ænima\n": 1}, "Ænima\n", "seed"),
    ],
    ids=str,
)
def test_fields_that_make_no_sense(
    client: httpx.Client, fields: dict[str, object], field: str, expected: str
) -> None:
    error = refused(client.post("/generate", json={"model": "convolutional", **fields}), 422, field)
    assert expected in error["expected"]


@pytest.mark.parametrize("name", ["unknown", "grey:3", "grey:01", "", "../grey", "\ud800"])
def test_an_unknown_model_is_not_found(client: httpx.Client, name: str) -> None:
    error = refused(post(client, json.dumps({"model": name}).encode()), 404, "model")
    assert "convolutional:1, grey:2, grey:1" in error["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"latents": [[NaN]], "label": 0}', "latents[0][0]"),
        (b'{"truncation": Infinity}', "truncation"),
        (b'{"truncation": 1e999}', "truncation"),
        (b'{"n": NaN}', "n"),
        (b'{"\\ud800": 1}', "\ud800"),
    ],
)
def test_what_json_should_not_have(client: httpx.Client, body: bytes, field: str) -> None:
    answer = post(client, body)
    refused(answer, 422, field)


@pytest.mark.parametrize(
    "body",
    [
        b"n=4",
        b"{'n': 4}",
        b'{"n": 4',
        b'{"n": 4}}',
        b"[]",
        b"4",
        b"null",
        b'{"n": 1, "n": 2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_object(client: httpx.Client, body: bytes) -> None:
    answer = post(client, body)
    assert "JSON object" in refused(answer, 400, "body")["expected"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_a_body_that_is_said_to_be_no_json(client: httpx.Client, media_type: str) -> None:
    answer = client.post("/generate", content=b"{}", headers={"Content-Type": media_type})
    assert "application/json" in refused(answer, 415, "Content-Type")["expected"]


def test_a_body_that_is_said_to_be_compressed(client: httpx.Client) -> None:
    answer = client.post("/generate", content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert "without Content-Encoding" in refused(answer, 415, "Content-Encoding")["expected"]
    plain = client.post(
        "/generate", content=b'{"model": "convolutional"}', headers={"Content-Encoding": "identity"}
    )
    assert plain.status_code == 200


def test_pickles_are_not_read(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/vnd.bentoml+pickle"}
    refused(client.post("/generate", content=b"x", headers=headers), 415, "Content-Type")


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "*/*;q=0", "nonsense"])
def test_nothing_acceptable(client: httpx.Client, accept: str) -> None:
    answer = client.post("/generate", json={"model": "convolutional"}, headers={"Accept": accept})
    assert "image/png" in refused(answer, 406, "Accept")["expected"]


def test_a_body_over_the_limit_is_refused_by_its_length(client: httpx.Client) -> None:
    answer = client.post("/generate", content=b" " * (9 * 2**20))
    assert str(8 * 2**20) in refused(answer, 413, "body")["expected"]


def test_a_body_over_the_limit_is_refused_though_it_hides_its_length(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * 2**20

    refused(client.post("/generate", content=chunks()), 413, "body")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/generate", 405),
        ("PUT", "/generate", 405),
        ("POST", "/models", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_paths_and_methods_that_there_are_not(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    refused(client.request(method, path), status, None)


def test_no_client_error_left_a_traceback_in_the_log(server: Server, client: httpx.Client) -> None:
    client.post("/generate", json={"n": 0})
    client.post("/generate", content=b"[" * 100_000)
    ours = [line for line in server.log.read_text().splitlines() if 'File "' in line and "/service/" in line]
    assert not ours
    assert json.loads(client.get("/models").text)


@pytest.mark.parametrize("depth", range(900, 1000, 4))
def test_nesting_of_any_depth_is_refused(client: httpx.Client, depth: int) -> None:
    refused(post(client, b"[" * depth + b"1" + b"]" * depth), 400, "body")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        # each took seconds, or gigabytes, where every key was compared or every mistake was listed
        (b"{" + b",".join(b'"%x":1' % i for i in range(200_000)) + b',"z":1,"z":1}', 400, "body"),
        (b'{"label":[' + b",".join([b"[]"] * 1_000_000) + b"]}", 422, "label"),
        (b'{"label":0,"latents":[[' + b",".join([b'""'] * 1_000_000) + b"]]}", 422, "latents[0][0]"),
    ],
    ids=["repeated key", "labels", "latents"],
)
def test_a_large_body_of_mistakes_costs_no_more_than_one(
    server: Server, body: bytes, status: int, field: str
) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        refused(post(client, body), status, field)


def test_a_header_that_is_no_utf_8_is_answered_whole(client: httpx.Client) -> None:
    answer = client.post(
        "/generate",
        content=b'{"model": "convolutional"}',
        headers=[(b"Content-Type", b"application/json; x=\xe9")],
    )
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")
