"""The contract: written, read, and refused for each thing that can be wrong with it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from pydantic import ValidationError

from models.contract import (
    Contract,
    ExternalData,
    ForeignOperator,
    ImageShape,
    InvalidOnnx,
    Latent,
    MetadataMissing,
    MetadataUnreadable,
    OpsetTooOld,
    SchemaTooNew,
    TensorMismatch,
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


@pytest.mark.parametrize(
    "model",
    [
        tiny_generator(),
        tiny_generator(classes=()),
        tiny_generator(truncation="mapping", distribution="uniform"),
        tiny_generator(classes=(), truncation="mapping", channels=1, height=4, width=32),
    ],
    ids=["conditional", "unconditional", "conditional mapping", "unconditional mapping"],
)
def test_a_model_that_keeps_its_contract_passes(model: onnx.ModelProto) -> None:
    assert check(model) == read(model)


def test_any_name_will_do_for_the_batch() -> None:
    model = tiny_generator()
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "rows"
    assert check(model).name == "tiny"


def test_what_onnx_checker_refuses_is_refused() -> None:
    model = tiny_generator()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(InvalidOnnx, match="NoSuchOperator"):
        check(model)


def test_an_operator_set_that_is_too_old_is_refused() -> None:
    model = tiny_generator()
    model.opset_import[0].version = 17
    with pytest.raises(OpsetTooOld, match=r"17, expected 18 or later"):
        check(model)


def test_an_operator_of_another_domain_is_refused() -> None:
    model = tiny_generator()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(
        helper.make_node("Gelu", ["wave"], ["unused"], name="gelu", domain="com.microsoft")
    )
    with pytest.raises(ForeignOperator, match=r"'gelu' uses Gelu of the domain 'com.microsoft'"):
        check(model)


def test_an_operator_of_another_domain_is_found_in_a_subgraph() -> None:
    model = tiny_generator()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    outcome = helper.make_tensor_value_info("outcome", TensorProto.FLOAT, None)
    foreign = helper.make_node("Gelu", ["wave"], ["outcome"], name="gelu", domain="com.microsoft")
    plain = helper.make_node("Identity", ["wave"], ["outcome"])
    model.graph.initializer.append(helper.make_tensor("condition", TensorProto.BOOL, [], [True]))
    model.graph.node.append(
        helper.make_node(
            "If",
            ["condition"],
            ["unused"],
            then_branch=helper.make_graph([foreign], "then", [], [outcome]),
            else_branch=helper.make_graph([plain], "else", [], [outcome]),
        )
    )
    with pytest.raises(ForeignOperator, match="gelu"):
        check(model)


def test_external_data_is_refused() -> None:
    model = tiny_generator()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "waves")
    onnx.external_data_helper.set_external_data(weights, "weights.bin")
    weights.ClearField("raw_data")
    with pytest.raises(ExternalData, match="'waves' lie outside"):
        check(model)


def test_an_output_of_another_type_is_refused() -> None:
    model = tiny_generator()
    [cast] = [node for node in model.graph.node if node.op_type == "Cast"]
    cast.attribute[0].i = TensorProto.FLOAT
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(TensorMismatch) as refusal:
        check(model)
    assert str(refusal.value) == (
        "the output 'image' is float32 [batch, 16, 16, 3], the contract expects uint8 [batch, 16, 16, 3]"
    )


def test_a_fixed_batch_is_refused() -> None:
    model = tiny_generator(classes=())
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.raises(
        TensorMismatch, match=r"'latent' is float32 \[4, 8\], .* expects float32 \[batch, 8\]"
    ):
        check(model)


def test_a_tensor_under_another_name_is_refused() -> None:
    model = tiny_generator(classes=())
    model.graph.input[0].name = model.graph.node[0].input[0] = "z"
    with pytest.raises(TensorMismatch, match=r"the inputs are \['z'\], the contract expects \['latent'\]"):
        check(model)


@pytest.mark.parametrize(
    ("model", "contract", "tensors"),
    [
        ({}, {"latent_dim": 9}, "'latent' is float32 [batch, 8], the contract expects float32 [batch, 9]"),
        ({}, {"classes": "abcd"}, "'label' is float32 [batch, 3], the contract expects float32 [batch, 4]"),
        ({}, {"classes": ""}, "inputs are ['latent', 'label'], the contract expects ['latent']"),
        ({"classes": ""}, {}, "inputs are ['latent'], the contract expects ['latent', 'label']"),
        ({}, {"truncation": "mapping"}, "the contract expects ['latent', 'label', 'truncation']"),
        ({}, {"height": 8}, "uint8 [batch, 16, 16, 3], the contract expects uint8 [batch, 8, 16, 3]"),
        ({}, {"channels": 1}, "uint8 [batch, 16, 16, 3], the contract expects uint8 [batch, 16, 16, 1]"),
    ],
)
def test_tensors_that_differ_from_the_contract_are_refused(
    model: dict[str, object], contract: dict[str, object], tensors: str
) -> None:
    generator = tiny_generator(**model)  # type: ignore[arg-type]
    attach(generator, tiny_contract(**contract))  # type: ignore[arg-type]
    with pytest.raises(TensorMismatch) as refusal:
        check(generator)
    assert tensors in str(refusal.value)


def test_the_tiny_generator_gives_each_row_the_same_bytes_in_any_batch() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(tiny_generator().SerializeToString())
    random = np.random.default_rng(0)
    latent = random.standard_normal((64, 8), dtype=np.float32)
    label = np.eye(3, dtype=np.float32)[random.integers(0, 3, 64)]
    [together] = session.run(None, {"latent": latent, "label": label})
    for size in (1, 7):
        parts = [
            session.run(None, {"latent": latent[row : row + size], "label": label[row : row + size]})[0]
            for row in range(0, 64, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    assert len({image.tobytes() for image in together}) == 64
    brightness = [together[label[:, kind] == 1].mean() for kind in range(3)]
    np.testing.assert_allclose(brightness, [64, 128, 192], atol=3)
