"""The description that callers' tools read, beside what the service answers."""

from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from service.encoding import FORMATS


@pytest.fixture
def description(client: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def test_it_is_openapi(description: dict[str, Any]) -> None:
    validate(description)


def test_its_paths_are_there(client: httpx.Client, description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for method in operations:
            assert client.request(method, path).status_code not in (404, 405)


@pytest.mark.parametrize("form", [form.name for form in FORMATS])
def test_each_format_is_described(client: httpx.Client, description: dict[str, Any], form: str) -> None:
    answer = client.post("/generate", json={"model": "convolutional", "format": form})
    described = description["paths"]["/generate"]["post"]["responses"]["200"]
    assert answer.headers["content-type"] in described["content"]
    assert described["headers"].keys() == {
        name.title() for name in answer.headers if name.startswith("ganserve-")
    }


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"["}, 400),
        ({"json": {"model": "nobody"}}, 404),
        ({"json": {"model": "convolutional"}, "headers": {"Accept": "text/html"}}, 406),
        ({"content": b" " * (9 * 2**20)}, 413),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"json": {"n": 0}}, 422),
    ],
)
def test_each_refusal_is_described(
    client: httpx.Client, description: dict[str, Any], request_: dict[str, Any], status: int
) -> None:
    answer = client.post("/generate", **request_)
    assert answer.status_code == status
    content = description["paths"]["/generate"]["post"]["responses"][str(status)]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    OAS31Validator(description["components"]["schemas"]["Error"]).validate(answer.json())


def test_bodies_that_are_served_are_described(client: httpx.Client, description: dict[str, Any]) -> None:
    body = description["paths"]["/generate"]["post"]["requestBody"]
    schema = OAS31Validator(body["content"]["application/json"]["schema"])
    served: list[dict[str, Any]] = [
        {"model": "convolutional", "seed": None, "label": None, "format": None},
        {"model": "convolutional", "n": 2, "seed": 3, "index": 4, "label": [0, 1], "format": "npz"},
    ]
    for one in served:
        schema.validate(one)
        assert client.post("/generate", json=one).status_code == 200
    for refused in ({"n": 0}, {"n": "2"}, {"seed": -1}, {"colour": "red"}, {"latents": "x"}):
        assert not schema.is_valid(refused)
        assert client.post("/generate", json=refused).status_code == 422
