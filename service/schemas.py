"""The request: what POST /generate takes, and how its JSON is read."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from service.encoding import FORMATS
from service.errors import Refusal
from service.limits import INDEXES, MOST_IMAGES, SEEDS

EXPECTED = {
    "model": 'the name of a generator, such as "fashion-mnist", or "name:version"',
    "n": f"an integer from 1 to {MOST_IMAGES}",
    "seed": "an integer from 0 to 2**63 - 1",
    "index": "an integer from 0 to 2**63 - 1",
    "label": "the name or number of a class, or a list of n of them",
    "truncation": "a number above 0",
    "latents": f"1 to {MOST_IMAGES} lists of as many finite numbers as the generator's latent has",
    "format": f"one of {', '.join(form.name for form in FORMATS)}, or its media type",
}

# Failing fast, so that a large list of mistakes costs no more than the first of them.
_Labels = Annotated[list[int | str], Field(fail_fast=True, max_length=MOST_IMAGES)]
_LABEL_TYPES = [{"type": name} for name in ("string", "integer", "null")]
_Row = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)]
_Rows = Annotated[list[_Row], Field(fail_fast=True, min_length=1, max_length=MOST_IMAGES)]


def _about(field: str, meaning: str) -> str:
    return f"{meaning}: {EXPECTED[field]}."


class GenerateRequest(BaseModel):
    """What to generate; every field may be left out."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"n": 4, "seed": 7, "format": "png"}},
    )

    model: str | None = Field(
        None,
        description=_about(
            "model", "The generator, `name` or `name:version`, needed when the shelf holds several"
        ),
    )
    n: Annotated[int, Field(ge=1, le=MOST_IMAGES)] | None = Field(
        None, description=_about("n", "How many images, 1 when left out")
    )
    seed: Annotated[int, Field(ge=0, le=SEEDS - 1)] | None = Field(
        None,
        description=_about(
            "seed", "What the images are drawn from; drawn and named in the answer when left out"
        ),
    )
    index: Annotated[int, Field(ge=0, le=INDEXES - 1)] | None = Field(
        None, description=_about("index", "The first image of the seed, 0 when left out")
    )
    label: Annotated[
        int | str | _Labels | None,
        WithJsonSchema({"oneOf": [*_LABEL_TYPES, {"type": "array", "items": {}}]}),
    ] = Field(
        None,
        description=_about(
            "label", "The class of all images or of each, drawn when left out, but not beside latents"
        ),
    )
    truncation: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description=_about("truncation", "Variety against quality, less gives the more typical images")
    )
    latents: _Rows | None = Field(
        None, description=_about("latents", "The latents themselves, instead of seed and index")
    )
    format: Annotated[str, Field(max_length=100)] | None = Field(
        None, description=_about("format", "The format of the answer, as the Accept header when left out")
    )


def parse(body: bytes) -> GenerateRequest:
    """The request in a body of JSON; an empty one leaves everything out.

    Raises Refusal.
    """
    document = _document(body)
    for name in document:
        if name not in EXPECTED:
            raise unprocessable(
                name[:60], f"there is no field {shown(name)}", f"one of {', '.join(EXPECTED)}"
            )
    try:
        return GenerateRequest.model_validate(document)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None


def shown(value: object) -> str:
    """A value of the request as the client may read it again, cut where it is long."""
    text = ""
    for part in _ENCODER.iterencode(value[:60] if isinstance(value, str) else value):
        text += part
        if len(text) > 60:
            return f"{text[:57]}..."
    return text


def _document(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        document = _DECODER.decode(body.decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _not_json(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _not_json("the body is nested too deeply") from None
    except ValueError:  # of int()
        raise _not_json("the body has a number of thousands of digits") from None
    if not isinstance(document, dict):
        raise _not_json(f"the body is {shown(document)}, which is no object")
    return document


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise _not_json(f"the body has {shown(name)} more than once")
        document[name] = value
    return document


_ENCODER = json.JSONEncoder(default=str)
_DECODER = json.JSONDecoder(object_pairs_hook=_without_repetition)


def _not_json(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, message, field="body", expected='a JSON object, such as {"n": 4}')


def _refusal(problem: ErrorDetails) -> Refusal:
    name, *place = problem["loc"]
    field = f"{name}{_position(place)}"
    return unprocessable(field, f"{field} is {shown(problem['input'])}", EXPECTED[str(name)])


def unprocessable(field: str, message: str, expected: str) -> Refusal:
    """The refusal of a value that is understood but cannot be served."""
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"{message}, expected {expected}", field=field, expected=expected
    )


def _position(place: Sequence[int | str]) -> str:
    """Where in the field's value; the strings are pydantic's names of the types that it tried."""
    return "".join(f"[{part}]" for part in place if isinstance(part, int))
