"""Generators that compute as trained ones do, and ones that fail while they run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.contract import MINIMUM_OPSET, Contract, attach
from models.shelf import Generator, Shelf
from tests.generators import tiny_contract

node = helper.make_node


def placed(root: Path, model: onnx.ModelProto) -> Generator:
    return Shelf(root).place(model)


def convolutional_generator(name: str = "convolutional", *, width: int = 24) -> onnx.ModelProto:
    """A linear layer, resampling and convolutions with random weights: 16x16 RGB, three classes."""
    random = np.random.default_rng(0)

    def weights(key: str, *shape: int) -> TensorProto:
        fan_in = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return constant(key, random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32))

    initializers = [
        weights("linear", 16 + 3, width * 16),
        constant("grid", np.array([0, width, 4, 4], np.int64)),
        constant("twice", np.array([1, 1, 2, 2], np.float32)),
        weights("plain", width, width, 3, 3),
        weights("grouped", width, width // 4, 3, 3),
        weights("rgb", 3, width, 1, 1),
        constant("half", np.float32(127.5)),
        constant("black", np.float32(0)),
        constant("white", np.float32(255)),
    ]
    nodes = [
        node("Concat", ["latent", "label"], ["z"], axis=1),
        node("MatMul", ["z", "linear"], ["flat"]),
        node("Reshape", ["flat", "grid"], ["x0"]),
        node("Resize", ["x0", "", "twice"], ["x1"], mode="linear"),
        node("Conv", ["x1", "plain"], ["x2"], pads=[1] * 4),
        node("LeakyRelu", ["x2"], ["x3"], alpha=0.2),
        node("Resize", ["x3", "", "twice"], ["x4"], mode="linear"),
        node("Conv", ["x4", "grouped"], ["x5"], pads=[1] * 4, group=4),
        node("LeakyRelu", ["x5"], ["x6"], alpha=0.2),
        node("Conv", ["x6", "rgb"], ["x7"]),
        node("Tanh", ["x7"], ["x8"]),
        node("Mul", ["x8", "half"], ["x9"]),
        node("Add", ["x9", "half"], ["x10"]),
        node("Round", ["x10"], ["x11"]),
        node("Clip", ["x11", "black", "white"], ["x12"]),
        node("Cast", ["x12"], ["nchw"], to=TensorProto.UINT8),
        node("Transpose", ["nchw"], ["image"], perm=[0, 2, 3, 1]),
    ]
    return model(tiny_contract(name, latent_dim=16), nodes, initializers)


def batch_dependent_generator(name: str = "fickle") -> onnx.ModelProto:
    """Every pixel is the number of rows in the batch."""
    initializers = [
        constant("first", np.array([0], np.int64)),
        constant("no_class", np.array([1], np.int64)),
        constant("pixels", np.zeros((16, 16, 3), np.float32)),
        constant("nothing", np.float32(0)),
        constant("column", np.array([0, 1, 1, 1], np.int64)),
        constant("one", np.array([1], np.int64)),
    ]
    nodes = [
        node("Shape", ["latent"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"]),
        node("Cast", ["rows"], ["count"], to=TensorProto.FLOAT),
        node("ReduceSum", ["label", "one"], ["sum"], keepdims=1),
        node("Mul", ["sum", "count"], ["grey"]),
        node("Reshape", ["grey", "column"], ["cell"]),
        node("Add", ["cell", "pixels"], ["raw"]),
        node("Cast", ["raw"], ["image"], to=TensorProto.UINT8),
    ]
    return model(tiny_contract(name, latent_dim=16), nodes, initializers)


def uneven_generator(name: str = "uneven", *, other_up_to: int) -> onnx.ModelProto:
    """Every pixel is 1 in batches of at most so many rows, 0 in larger ones."""
    whole = batch_dependent_generator(name)
    whole.graph.initializer.append(constant("bound", np.float32(other_up_to + 0.5)))
    del whole.graph.node[-1]
    whole.graph.node.extend(
        [
            node("Less", ["raw", "bound"], ["small"]),
            node("Cast", ["small"], ["image"], to=TensorProto.UINT8),
        ]
    )
    return whole


def endless_generator(name: str = "endless", *, always: bool) -> onnx.ModelProto:
    """It computes for longer than anybody waits: always, or for latents of at least 40."""
    count = [helper.make_tensor_value_info("turn", TensorProto.INT64, [])]
    going = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "go_on")]
    grey = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in ("old", "new")]
    turn = helper.make_graph(
        [node("Identity", ["go"], ["go_on"]), node("Sin", ["old"], ["new"])],
        "turn",
        [*count, going[0], grey[0]],
        [going[1], grey[1]],
    )
    initializers = [
        constant("least", np.float32(40 if always else -np.inf)),
        constant("most", np.float32(40)),
        constant("true", np.array(True)),
        constant("column", np.array([0, 1, 1, 1], np.int64)),
        constant("pixels", np.zeros((16, 16, 3), np.float32)),
        constant("one", np.array([1], np.int64)),
    ]
    nodes = [
        node("ReduceMax", ["latent"], ["largest"], keepdims=0),
        node("Max", ["largest", "least"], ["raised"]),
        node("Min", ["raised", "most"], ["bounded"]),
        node("Exp", ["bounded"], ["turns"]),
        node("Cast", ["turns"], ["trips"], to=TensorProto.INT64),
        node("ReduceSum", ["label", "one"], ["sum"], keepdims=1),
        node("Loop", ["trips", "true", "sum"], ["turned"], body=turn),
        node("Reshape", ["turned", "column"], ["cell"]),
        node("Add", ["cell", "pixels"], ["raw"]),
        node("Cast", ["raw"], ["image"], to=TensorProto.UINT8),
    ]
    return model(tiny_contract(name, latent_dim=16), nodes, initializers)


def model(
    contract: Contract, nodes: Sequence[NodeProto], initializers: Sequence[TensorProto]
) -> onnx.ModelProto:
    shape = contract.image
    inputs = [
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", contract.latent.dim]),
        helper.make_tensor_value_info("label", TensorProto.FLOAT, ["batch", len(contract.classes)]),
    ]
    image = helper.make_tensor_value_info(
        "image", TensorProto.UINT8, ["batch", shape.height, shape.width, shape.channels]
    )
    made = helper.make_model(
        helper.make_graph(nodes, "generator", inputs, [image], initializers),
        opset_imports=[helper.make_opsetid("", MINIMUM_OPSET)],
        ir_version=10,
    )
    attach(made, contract)
    return made


def constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def unsupported_generator(name: str = "unsupported") -> onnx.ModelProto:
    """It keeps the contract, with a sum of bfloat16 numbers, which ONNX Runtime does not compute on CPUs."""
    initializers = [
        constant("pixels", np.array([0, 16, 16, 3], np.int64)),
        constant("twice", np.array([1, 256])),
    ]
    nodes = [
        node("Concat", ["latent", "label"], ["z"], axis=1),
        node("Cast", ["z"], ["short"], to=TensorProto.BFLOAT16),
        node("Add", ["short", "short"], ["sum"]),
        node("ReduceSum", ["sum"], ["total"], keepdims=1),
        node("Cast", ["z"], ["grey"], to=TensorProto.UINT8),
        node("Tile", ["grey", "twice"], ["flat"]),
        node("Reshape", ["flat", "pixels"], ["image"]),
    ]
    return model(tiny_contract(name, latent_dim=13, classes=("a", "b", "c")), nodes, initializers)
