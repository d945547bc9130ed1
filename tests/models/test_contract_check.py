"""Models that keep their contract, and each way to break it."""

import onnx
import pytest
from onnx import TensorProto, helper

from models.contract import (
    ExternalData,
    ForeignOperator,
    InvalidOnnx,
    OpsetTooOld,
    TensorMismatch,
    attach,
    check,
    read,
)
from tests.generators import tiny_contract, tiny_generator


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
