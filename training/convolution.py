"""A convolution in an ONNX graph, as numbers that can be multiplied out."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Convolution:
    """A convolution by constants: weight [outputs, inputs of a group, height, width], bias [outputs]."""

    node: ir.Node
    weight: Numbers
    bias: Numbers

    @classmethod
    def of(cls, value: ir.Value) -> Self | None:
        """The one that computes `value`; None when it is something else, or computes its weights."""
        node = value.producer()
        if node is None or node.op_type != "Conv":
            return None
        weight = constant(node.inputs[1])
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if weight is None or (bias is None and len(node.inputs) > 2):
            return None
        return cls(node, weight, np.zeros(len(weight)) if bias is None else bias)

    @property
    def is_dense(self) -> bool:
        """Whether each output takes all channels, at each position."""
        attributes = self.node.attributes
        ones = [*attributes.get_ints("strides", ()), *attributes.get_ints("dilations", ())]
        explicit = attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        return attributes.get_int("group", 1) == 1 and all(one == 1 for one in ones) and explicit

    @property
    def is_pointwise(self) -> bool:
        """Whether it is 1x1, so that it does the same to each pixel."""
        pads = self.node.attributes.get_ints("pads", ())
        return self.is_dense and self.weight.shape[2:] == (1, 1) and not any(pads)

    @property
    def matrix(self) -> Numbers:
        """What it does to the channels of a pixel, if it is 1x1: [outputs, inputs]."""
        return self.weight[:, :, 0, 0]


def attributes(value: ir.Value) -> dict[str, ir.Attr]:
    """Those of the node that computes `value`."""
    node = value.producer()
    return dict(node.attributes) if node is not None else {}


def constant(value: ir.Value | None) -> Numbers | None:
    """Its numbers; None when the graph computes them."""
    tensor = None if value is None else value.const_value
    return None if tensor is None else tensor.numpy().astype(np.float64)


def weights(op: Any, of: ir.Value, weight: Numbers, bias: Numbers) -> tuple[ir.Value, ir.Value]:
    """Constants float32 for a node that replaces the one that computes `of`."""
    return (
        op.initializer(ir.tensor(weight.astype(np.float32)), f"{of.name}_weight"),
        op.initializer(ir.tensor(bias.astype(np.float32)), f"{of.name}_bias"),
    )
