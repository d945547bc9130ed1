"""The contract as a document: written, read, and refused for each thing that can be wrong with it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.contract import (
    Contract,
    ImageShape,
    Latent,
    MetadataMissing,
    MetadataUnreadable,
    SchemaTooNew,
    Training,
    attach,
    check,
    read,
)
from tests.generators import tiny_contract, tiny_generator

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
sizes = st.integers(1, 2**31)
contracts = st.builds(
    Contract,
    name=st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}\Z"),
    latent=st.builds(Latent, dim=sizes, distribution=st.sampled_from(["normal", "uniform"])),
    classes=st.lists(text, unique=True, max_size=5).map(tuple),
    image=st.builds(ImageShape, height=sizes, width=sizes, channels=st.sampled_from([1, 3])),
    truncation=st.sampled_from(["latent", "mapping"]),
    training=st.builds(
        Training,
        dataset=text,
        images_seen=st.integers(0, 2**62),
        architecture=text,
        loss=text,
        seed=st.integers(0, 2**62),
        source_commit=text,
    ),
    license=text,
    created=st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis adds the time zone
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    ),
)


@given(contracts)
def test_a_contract_survives_the_file(contract: Contract) -> None:
    model = tiny_generator()
    attach(model, contract)
    assert read(onnx.load_model_from_string(model.SerializeToString())) == contract


def test_the_json_has_the_designed_keys() -> None:
    [entry] = tiny_generator("digits", latent_dim=8, classes=["zero", "one"], channels=1).metadata_props
    assert entry.key == "ganserve"
    assert json.loads(entry.value) == {
        "schema": 1,
        "name": "digits",
        "latent": {"dim": 8, "distribution": "normal"},
        "classes": ["zero", "one"],
        "image": {"height": 16, "width": 16, "channels": 1},
        "truncation": "latent",
        "training": {
            "dataset": "none",
            "images_seen": 0,
            "architecture": "cosines",
            "loss": "none",
            "seed": 0,
            "source_commit": "none",
        },
        "license": "Apache-2.0",
        "created": "2026-01-01T00:00:00Z",
    }


def test_attaching_again_replaces_the_contract_and_keeps_other_metadata() -> None:
    model = tiny_generator("old")
    model.metadata_props.add(key="author", value="someone")
    attach(model, tiny_contract("new"))
    assert read(model).name == "new"
    assert sorted(entry.key for entry in model.metadata_props) == ["author", "ganserve"]


def test_a_time_of_another_zone_is_kept_in_utc() -> None:
    noon_in_tokyo = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    contract = Contract.model_validate(tiny_contract().model_dump() | {"created": noon_in_tokyo})
    assert contract.created == noon_in_tokyo
    assert contract.created.tzinfo is UTC


def test_a_contract_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_contract().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", "Fashion MNIST", "name: String should match pattern"),
        ("name", "../escape", "name: String should match pattern"),
        ("latent", {"dim": 0, "distribution": "normal"}, "latent.dim: Input should be greater than 0"),
        ("latent", {"dim": "8", "distribution": "normal"}, "latent.dim: Input should be a valid integer"),
        (
            "latent",
            {"dim": 8, "distribution": "cauchy"},
            "latent.distribution: Input should be 'normal' or 'uniform'",
        ),
        (
            "classes",
            ["a", "b", "a"],
            "classes: Value error, class names must be unique, found more than once: a",
        ),
        ("classes", [""], "classes.0: String should have at least 1 character"),
        ("image", {"height": 16, "width": 16, "channels": 4}, "image.channels: Input should be 1 or 3"),
        ("created", "2026-01-01T00:00:00", "created: Input should have timezone info"),
        ("created", "yesterday", "created: Input should be a valid datetime"),
        (
            "created",
            "0001-01-01T00:00:00+14:00",
            "created: Value error, 0001-01-01T00:00:00+14:00 is no moment",
        ),
        ("schema", 0, "schema: Input should be greater than or equal to 1"),
        ("colour", "red", "colour: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_field_is_named(field: str, value: object, reason: str) -> None:
    model = tiny_generator()
    entry = model.metadata_props[0]
    entry.value = json.dumps(json.loads(entry.value) | {field: value})
    with pytest.raises(MetadataUnreadable) as refusal:
        check(model)
    assert reason in str(refusal.value)


@pytest.mark.parametrize("field", ["name", "latent", "image", "training", "license", "created"])
def test_an_absent_field_is_named(field: str) -> None:
    model = tiny_generator()
    entry = model.metadata_props[0]
    document = json.loads(entry.value)
    del document[field]
    entry.value = json.dumps(document)
    with pytest.raises(MetadataUnreadable, match=f"{field}: Field required"):
        check(model)


def test_missing_metadata_is_refused() -> None:
    model = tiny_generator()
    del model.metadata_props[:]
    with pytest.raises(MetadataMissing, match='"ganserve"'):
        check(model)


@pytest.mark.parametrize("value", ["", "{", "[" * 100_000, "not json"])
def test_metadata_that_is_not_json_is_refused(value: str) -> None:
    model = tiny_generator()
    model.metadata_props[0].value = value
    with pytest.raises(MetadataUnreadable, match="not JSON"):
        check(model)


@pytest.mark.parametrize("value", ["[1]", "null", '"text"'])
def test_metadata_that_is_no_object_is_refused(value: str) -> None:
    model = tiny_generator()
    model.metadata_props[0].value = value
    with pytest.raises(MetadataUnreadable, match="document"):
        check(model)


def test_a_newer_schema_is_refused_whatever_else_it_holds() -> None:
    model = tiny_generator()
    model.metadata_props[0].value = json.dumps({"schema": 2, "something": "new"})
    with pytest.raises(SchemaTooNew, match=r"schema 2, this Ganserve reads up to 1"):
        check(model)
