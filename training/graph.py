"""Rewrites of an exported graph that draw the same images with less work.

Between two activations everything is linear, so layers may change places there and become one. ONNX Runtime
fuses neighbours when it loads a graph, but it neither multiplies layers out nor moves one to where it is
cheaper. A rule is a pattern, and a function that gives what takes its place: None where that is not the same
or does not pay.
"""

from typing import Any

import numpy as np
from onnxscript import ir
from onnxscript.optimizer import remove_unused_nodes
from onnxscript.rewriter import RewriteRule, RewriteRuleSet
from onnxscript.rewriter.rules.common import conv_affine_fusion_rule

from training.convolution import Convolution, attributes, constant, weights
from training.patches import PATCHES_AS_BYTES, SCALE_BEFORE_SHUFFLE

# What one number costs, in multiply-adds of a convolution: to resample it, and to activate it where ONNX
# Runtime cannot fuse that into a convolution (a pass of its own, between two changes of layout). Measured
# with version 1.31 on AVX2: 0.6 and 1.35 ns, where a convolution does 33 multiply-adds a nanosecond. And what
# it costs to read a weight that is used once a row, when there is but one row.
RESAMPLE = 20
ACTIVATE = 45
READ = 6


def lighten(model: ir.Model) -> None:
    """Rewrite the graph in place until no rule finds anything more to do."""
    for rules in _STAGES:
        while rules.apply_to_model(model):
            pass
    remove_unused_nodes(model)


def _pointwise_of_sum(op: Any, x: Any, hidden: Any) -> Any:
    branch = op.Conv(hidden, _allow_other_inputs=True, _outputs=["branch"])
    return op.Conv(op.Add(x, branch), _allow_other_inputs=True, _outputs=["result"])


def _sum_of_pointwise(
    op: Any, x: ir.Value, hidden: ir.Value, branch: ir.Value, result: ir.Value
) -> ir.Value | None:
    """C (x + P h) as C x + (C P) h, for 1x1 convolutions of which C has no more outputs than P.

    The last convolution of a residual block is gone then.
    """
    inner, outer = Convolution.of(branch), Convolution.of(result)
    if inner is None or outer is None or not inner.is_pointwise or not outer.is_pointwise:
        return None
    if len(outer.weight) > len(inner.weight) or x.shape is None or x.shape != branch.shape:
        return None
    weight = (outer.matrix @ inner.matrix)[:, :, np.newaxis, np.newaxis]
    merged = weights(op, result, weight, outer.matrix @ inner.bias + outer.bias)
    terms = op.Conv(x, outer.node.inputs[1]), op.Conv(hidden, *merged)
    for term in terms:
        # ONNX Runtime fuses a sum into a convolution where it knows that the shapes are equal
        term.type, term.shape = result.type, result.shape
    total: ir.Value = op.Add(*terms)
    return total


def _pointwise_of_dense(op: Any, x: Any, weight: Any, bias: Any, shape: Any) -> Any:
    maps = op.Reshape(
        op.Gemm(x, weight, bias, alpha=1.0, beta=1.0, transA=0, transB=1), shape, _outputs=["maps"]
    )
    return op.Conv(maps, _allow_other_inputs=True, _outputs=["result"])


def _dense_of_pointwise(
    op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, maps: ir.Value, result: ir.Value, **_: ir.Value
) -> ir.Value | None:
    """A 1x1 convolution of the maps of a dense layer as another dense layer.

    All that is done to the maps has to be convolution, so that none are computed in the end, and to save more
    than the weights of the new layers cost.
    """
    uses = [Convolution.of(node.outputs[0]) for node in maps.consumers()]
    convolutions = [use for use in uses if use is not None and use.is_pointwise]
    if maps.is_graph_output() or len(convolutions) < len(uses):
        return None
    convolution, dense, offset = Convolution.of(result), constant(weight), constant(bias)
    sizes = [size for size in maps.shape or () if isinstance(size, int)]
    if convolution is None or dense is None or offset is None or np.prod(sizes) != len(dense):
        return None
    outputs, inputs = convolution.matrix.shape
    together = sum(len(use.weight) for use in convolutions)
    if inputs * together <= READ * dense.shape[1] * (together - inputs):
        return None
    merged = np.einsum("oi,ipx->opx", convolution.matrix, dense.reshape(inputs, -1, dense.shape[1]))
    shifted = convolution.matrix @ offset.reshape(inputs, -1) + convolution.bias[:, np.newaxis]
    constants = weights(op, result, merged.reshape(-1, dense.shape[1]), shifted.ravel())
    flat = op.Gemm(x, *constants, transB=1)
    reshaped: ir.Value = op.Reshape(flat, op.Constant(value_ints=[-1, outputs, *sizes[1:]]))
    return reshaped


def _pointwise_of_resized(op: Any, x: Any, scales: Any) -> Any:
    resized = op.Resize(x, None, scales, _outputs=["resized"])
    return op.Conv(resized, _allow_other_inputs=True, _outputs=["result"])


def _resized_pointwise(
    op: Any, x: ir.Value, scales: ir.Value, resized: ir.Value, result: ir.Value
) -> ir.Value | None:
    """C resize(x) as resize(C x), for a 1x1 convolution C and where that is less work.

    They commute, as the weights of an interpolation add up to 1.
    """
    convolution, factors = Convolution.of(result), constant(scales)
    if convolution is None or not convolution.is_pointwise:
        return None
    if factors is None or len(factors) != 4 or any(factors[:2] != 1):
        return None
    outputs, inputs = convolution.matrix.shape
    saved = (1 - 1 / factors.prod()) * inputs * outputs
    alone = len(resized.uses()) == 1 and not resized.is_graph_output()
    resampled = outputs - (inputs if alone else 0)
    activated = outputs if any(node.op_type == "LeakyRelu" for node in result.consumers()) else 0
    if saved <= RESAMPLE * resampled + ACTIVATE * activated:
        return None
    larger: ir.Value = op.Resize(
        op.Conv(x, *convolution.node.inputs[1:]), None, scales, **attributes(resized)
    )
    return larger


_STAGES = (
    # scales first: they have to reach a convolution before others take its place
    RewriteRuleSet([SCALE_BEFORE_SHUFFLE], commute=True),
    RewriteRuleSet([conv_affine_fusion_rule], commute=True),
    RewriteRuleSet([RewriteRule(_pointwise_of_sum, _sum_of_pointwise)], commute=True),
    RewriteRuleSet(
        [
            PATCHES_AS_BYTES,
            # what others use as well stays until all have their own
            RewriteRule(_pointwise_of_dense, _dense_of_pointwise, remove_nodes=False),
            RewriteRule(_pointwise_of_resized, _resized_pointwise, remove_nodes=False),
        ]
    ),
)
