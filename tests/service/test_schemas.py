"""How the JSON of a request is read; what the running server says to the rest is in test_refusals."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Refusal
from service.schemas import EXPECTED, GenerateRequest, parse, shown

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refusal_of(body: bytes) -> Refusal | None:
    try:
        parse(body)
    except Refusal as refusal:
        return refusal
    return None


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"\xef\xbb\xbf{}"])
def test_everything_may_be_left_out(body: bytes) -> None:
    assert parse(body) == GenerateRequest()


def test_null_leaves_a_field_out() -> None:
    assert parse(json.dumps(dict.fromkeys(EXPECTED)).encode()) == GenerateRequest()


def test_every_field_is_read() -> None:
    fields = {
        "model": "tiny:2",
        "n": 3,
        "seed": 2**63 - 1,
        "index": 10**12,
        "label": ["a", 1, "b"],
        "truncation": 1,
        "format": "npz",
    }
    assert parse(json.dumps(fields).encode()).model_dump(exclude_none=True) == fields
    latents = [[0.5, -1, 1e-30]]
    assert parse(json.dumps({"latents": latents}).encode()).latents == latents


def test_every_field_says_what_is_expected_of_it() -> None:
    assert EXPECTED.keys() == GenerateRequest.model_fields.keys()
    for name, schema in GenerateRequest.model_json_schema()["properties"].items():
        assert EXPECTED[name] in schema["description"]


@given(st.dictionaries(st.sampled_from([*EXPECTED, "other"]), values, max_size=3))
def test_whatever_the_fields_hold_it_is_read_or_refused(fields: dict[str, object]) -> None:
    if refusal := refusal_of(json.dumps(fields).encode()):
        assert refusal.status in (400, 422)
        assert refusal.field is not None
        assert refusal.field.partition("[")[0] in {*fields, "body"}
        assert "\n" not in refusal.message
        assert len(refusal.response().body) < 1000


@given(st.binary(max_size=40))
def test_whatever_the_bytes_are_they_are_read_or_refused(body: bytes) -> None:
    if refusal := refusal_of(body):
        assert refusal.status in (400, 422)
        json.loads(bytes(refusal.response().body))


@given(values)
def test_what_is_shown_is_short(value: object) -> None:
    assert len(shown(value)) <= 60


def test_a_number_of_thousands_of_digits_is_told() -> None:
    refusal = refusal_of(b'{"seed": ' + b"9" * 5_000 + b"}")
    assert refusal is not None
    assert (refusal.status, refusal.message) == (400, "the body has a number of thousands of digits")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1] * 2**20, "[" + "1, " * 18 + "1,..."),
        ("é" * 2**20, '"' + "\\u00e9" * 9 + "\\u..."),
        ({"a": [None, 1.5, True]}, '{"a": [null, 1.5, true]}'),
    ],
    ids=["list", "text", "short"],
)
def test_the_beginning_of_what_is_long_is_shown(value: object, text: str) -> None:
    assert shown(value) == text
