"""Rewritten graphs against ONNX's reference implementation, which computes the graph as it was written."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxscript import ir

from training.graph import lighten

Feeds = Mapping[str, NDArray[np.float32]]
Constants = Mapping[str, NDArray[Any] | np.float32]


def graph(nodes: list[onnx.NodeProto], constants: Constants, feeds: Feeds, *outputs: str) -> onnx.ModelProto:
    """A model of any batch that gives `outputs`: uint8 when it is an image, float32 otherwise."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *value.shape[1:]])
        for name, value in feeds.items()
    ]
    results = [
        helper.make_tensor_value_info(name, TensorProto.UINT8 if name == "image" else TensorProto.FLOAT, None)
        for name in outputs
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "test", inputs, results, initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def lightened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that is rewritten and is valid."""
    rewritten = ir.from_proto(model)
    lighten(rewritten)
    result = ir.to_proto(rewritten)
    onnx.checker.check_model(result, full_check=True)
    return result


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto, feeds: Feeds) -> None:
    session = onnxruntime.InferenceSession(after.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = ReferenceEvaluator(before).run(None, dict(feeds))
    for one, other in zip(expected, session.run(None, dict(feeds)), strict=True):
        assert other.dtype == one.dtype
        assert other.shape == one.shape
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)


def work(model: onnx.ModelProto) -> int:
    """The multiply-adds of a row in convolutions and dense layers."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*inferred.value_info, *inferred.output]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    weights = {tensor.name: tensor.dims for tensor in inferred.initializer}
    return sum(
        int(np.prod(weights[node.input[1]]) * np.prod(shapes[node.output[0]][2:]))
        for node in inferred.node
        if node.op_type in {"Conv", "Gemm"}
    )


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def numbers(*shape: int) -> NDArray[np.float32]:
    draws = np.random.default_rng(shape)
    return draws.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))


def convolution(x: str, weight: str, result: str, bias: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, weight, bias] if bias else [x, weight], [result], **attributes)


@settings(max_examples=20, deadline=None)
@given(
    width=st.integers(1, 12),
    hidden=st.integers(1, 12),
    outputs=st.integers(1, 12),
    swapped=st.booleans(),
    biases=st.tuples(st.booleans(), st.booleans()),
)
def test_a_block_and_the_convolution_after_it_become_one_where_that_is_less(
    width: int, hidden: int, outputs: int, *, swapped: bool, biases: tuple[bool, bool]
) -> None:
    feeds = {"x": numbers(3, width, 5, 4), "h": numbers(3, hidden, 5, 4)}
    constants = {
        "p": numbers(width, hidden, 1, 1),
        "p_bias": numbers(width),
        "c": numbers(outputs, width, 1, 1),
        "c_bias": numbers(outputs),
    }
    nodes = [
        convolution("h", "p", "branch", "p_bias" if biases[0] else ""),
        helper.make_node("Add", ["branch", "x"] if swapped else ["x", "branch"], ["sum"]),
        convolution("sum", "c", "y", "c_bias" if biases[1] else ""),
    ]
    before = graph(nodes, constants, feeds, "y")
    after = lightened(before)
    assert_same(before, after, feeds)
    expected = 5 * 4 * outputs * (width + hidden) if outputs <= width else work(before)
    assert work(after) == expected


@pytest.mark.parametrize("other", ["used elsewhere", "grouped", "3x3", "broadcast"])
def test_a_block_stays_where_the_convolution_cannot_take_it_in(other: str) -> None:
    feeds = {"x": numbers(2, 1 if other == "broadcast" else 8, 4, 4), "h": numbers(2, 6, 4, 4)}
    weight = {"grouped": numbers(4, 4, 1, 1), "3x3": numbers(4, 8, 3, 3)}.get(other, numbers(4, 8, 1, 1))
    special: dict[str, dict[str, Any]] = {"grouped": {"group": 2}, "3x3": {"pads": [1, 1, 1, 1]}}
    nodes = [
        convolution("h", "p", "branch"),
        helper.make_node("Add", ["x", "branch"], ["sum"]),
        convolution("sum", "c", "y", **special.get(other, {})),
    ]
    before = graph(
        nodes,
        {"p": numbers(8, 6, 1, 1), "c": weight},
        feeds,
        *(["y", "sum"] if other == "used elsewhere" else ["y"]),
    )
    after = lightened(before)
    assert operators(after) == operators(before)
    assert_same(before, after, feeds)


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "linear"},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"mode": "cubic"},
    ],
    ids=lambda how: " ".join(how.values()),
)
@pytest.mark.parametrize("shared", [False, True])
def test_a_convolution_runs_before_the_upsampling(how: dict[str, str], *, shared: bool) -> None:
    feeds = {"x": numbers(2, 64, 5, 3)}
    constants = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "c": numbers(16, 64, 1, 1),
        "c_bias": numbers(16),
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["larger"], **how),
        convolution("larger", "c", "y", "c_bias"),
    ]
    before = graph(nodes, constants, feeds, *(["y", "larger"] if shared else ["y"]))
    after = lightened(before)
    assert operators(after).index("Conv") < len(operators(after)) - 1 - operators(after)[::-1].index("Resize")
    assert work(after) * 4 == work(before)
    assert_same(before, after, feeds)


@pytest.mark.parametrize(
    ("inputs", "outputs", "why"),
    [(16, 64, "more would be upsampled"), (48, 48, "activated")],
    ids=["more to upsample", "activation apart"],
)
def test_a_convolution_stays_behind_the_upsampling_where_that_is_cheaper(
    inputs: int, outputs: int, why: str
) -> None:
    feeds = {"x": numbers(2, inputs, 4, 4)}
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["larger"], mode="linear"),
        convolution("larger", "c", "y"),
        *([helper.make_node("LeakyRelu", ["y"], ["z"])] if why == "activated" else []),
    ]
    constants = {"scales": np.array([1, 1, 2, 2], np.float32), "c": numbers(outputs, inputs, 1, 1)}
    outputs_ = ["larger", "z"] if why == "activated" else ["y"]
    before = graph(nodes, constants, feeds, *outputs_)
    assert operators(lightened(before)) == operators(before)


@pytest.mark.parametrize(
    ("outputs", "elsewhere", "becomes"),
    [((9, 5), False, True), ((9, 5), True, False), ((40, 40), False, False)],
    ids=["less work", "needed elsewhere", "too many weights"],
)
def test_convolutions_of_a_dense_layers_maps_become_dense_layers(
    outputs: tuple[int, int], *, elsewhere: bool, becomes: bool
) -> None:
    feeds = {"z": numbers(3, 6)}
    constants: dict[str, NDArray[Any]] = {
        "dense": numbers(20 * 6, 6),
        "dense_bias": numbers(20 * 6),
        "shape": np.array([-1, 20, 2, 3], np.int64),
        "one": numbers(outputs[0], 20, 1, 1),
        "one_bias": numbers(outputs[0]),
        "two": numbers(outputs[1], 20, 1, 1),
    }
    nodes = [
        helper.make_node(
            "Gemm", ["z", "dense", "dense_bias"], ["flat"], alpha=1.0, beta=1.0, transA=0, transB=1
        ),
        helper.make_node("Reshape", ["flat", "shape"], ["maps"]),
        convolution("maps", "one", "y1", "one_bias"),
        convolution("maps", "two", "y2"),
    ]
    before = graph(nodes, constants, feeds, "y1", "y2", *(["maps"] if elsewhere else []))
    after = lightened(before)
    assert_same(before, after, feeds)
    assert ("Conv" not in operators(after)) is becomes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(4, 6), (3, 4), (5, 3)], ids=str)
def test_patches_become_the_same_pixels(channels: int, side: int, kernel: int, size: tuple[int, int]) -> None:
    # whole numbers and halves, which float32 adds up without rounding in any order
    draws = np.random.default_rng(0)
    outputs = channels * side**2
    feeds = {"x": draws.integers(-8, 9, (2, 5, *size)).astype(np.float32)}
    constants: dict[str, NDArray[Any] | np.float32] = {
        "c": draws.integers(-4, 5, (outputs, 5, kernel, kernel)).astype(np.float32),
        "c_bias": draws.integers(-40, 41, outputs).astype(np.float32),
        "scale": np.float32(0.5),
        "offset": np.float32(128),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    nodes = [
        convolution("x", "c", "patches", "c_bias", pads=[kernel // 2] * 4),
        helper.make_node("DepthToSpace", ["patches"], ["shuffled"], blocksize=side, mode="CRD"),
        helper.make_node("Mul", ["shuffled", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["levels"]),
        helper.make_node("Transpose", ["levels"], ["moved"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["moved", "low", "high"], ["clamped"]),
        helper.make_node("Cast", ["clamped"], ["image"], to=TensorProto.UINT8),
    ]
    before = graph(nodes, constants, feeds, "image")
    after = lightened(before)
    assert not {"DepthToSpace", "Mul", "Add"} & set(operators(after))
    (expected,) = ReferenceEvaluator(before).run(None, feeds)
    session = onnxruntime.InferenceSession(after.SerializeToString(), providers=["CPUExecutionProvider"])
    (image,) = session.run(None, feeds)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert len(np.unique(image)) > 20
