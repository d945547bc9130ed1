"""The HTTP surface as OpenAPI, for callers' tools: BentoML's own description has errors that are not ours."""

from http import HTTPStatus
from typing import Any

from service import __version__
from service.encoding import FORMATS
from service.schemas import GenerateRequest

_OPEN_METRICS = "application/openmetrics-text"
_TEXT_OR_NONE = {"type": ["string", "null"]}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "field", "expected"],
            "properties": {
                "message": {"type": "string", "description": "For people."},
                "field": {**_TEXT_OR_NONE, "description": "What is wrong in the request."},
                "expected": _TEXT_OR_NONE,
            },
        }
    },
}
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON object.",
    HTTPStatus.NOT_FOUND: "There is no such generator.",
    HTTPStatus.NOT_ACCEPTABLE: "Accept leaves none of the formats.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is said to be no JSON, or compressed.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A value that cannot be served.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Computing failed.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to come back in.", "schema": {"type": "integer"}}}
_HEADERS = {
    "Ganserve-Model": "Name and version of the generator.",
    "Ganserve-Digest": "SHA-256 of its file.",
    "Ganserve-Seed": "What the images were drawn from, unless latents were given.",
    "Ganserve-Index": "The first image of the seed.",
}


def describe() -> dict[str, Any]:
    """An OpenAPI 3.1 document of what callers use."""
    generate = {
        "operationId": "generate",
        "summary": "Generate images, in the format of the request or else what its Accept header likes best",
        "requestBody": {"content": {"application/json": {"schema": GenerateRequest.model_json_schema()}}},
        "responses": {
            "200": {
                "description": "The images. Model, seed, index, label and truncation always give the same.",
                "headers": {
                    name: {"description": meaning, "schema": {"type": "string"}}
                    for name, meaning in _HEADERS.items()
                },
                "content": {form.media_type: {} for form in FORMATS},
            },
            **{str(int(status)): _refusal(why) for status, why in _REFUSALS.items()},
            "503": _refusal("No room, too late, warming up, or the device failed.")
            | {"headers": _RETRY_AFTER},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ganserve", "version": __version__},
        "servers": [{"url": "."}],
        "paths": {
            "/generate": {"post": generate},
            "/models": {"get": _get("models", "The generators and their contracts", "application/json")},
            "/metrics": {"get": _get("metrics", "Metrics for Prometheus", "text/plain", _OPEN_METRICS)},
            "/livez": {"get": _probe("livez", "Whether the process has its device")},
            "/readyz": {"get": _probe("readyz", "Whether requests should be sent here")},
        },
        "components": {"schemas": {"Error": _ERROR}},
    }


def _refusal(why: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": why, "content": {"application/json": {"schema": schema}}}


def _get(name: str, summary: str, *media_types: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {media_type: {} for media_type in media_types}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer}}


def _probe(name: str, summary: str) -> dict[str, Any]:
    not_so = _refusal("It is not so.")
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "It is so."}, "503": not_so},
    }
