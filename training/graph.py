"""Rewrites of an exported graph that draw the same images with less work.

Between two activations everything is linear, so layers may change places there and become one. ONNX Runtime
fuses neighbours when it loads a graph, but it neither multiplies layers out nor moves one to where it is
cheaper. A rule is a pattern, and a function that gives what takes its place: None where that is not the same
or does not pay.
"""

from itertools import product
from typing import Any

import numpy as np
from onnxscript import ir
from onnxscript.optimizer import remove_unused_nodes
from onnxscript.rewriter import RewriteRule, RewriteRuleSet
from onnxscript.rewriter.rules.common import conv_affine_fusion_rule

from training.convolution import Convolution, attributes, constant, weights

# What one number costs, in multiply-adds of a convolution: to resample it, and to activate it where ONNX
# Runtime cannot fuse that into a convolution (a pass of its own, between two changes of layout). Measured
# with version 1.31 on AVX2.
RESAMPLE = 25
ACTIVATE = 54

# How many outputs the kernels of convolutions compute side by side on AVX2.
LANES = 8


def lighten(model: ir.Model) -> None:
    """Rewrite the graph in place until no rule finds anything more to do."""
    for rules in _stages():
        while rules.apply_to_model(model):
            pass
    remove_unused_nodes(model)


def _stages() -> list[RewriteRuleSet]:
    moving = [
        RewriteRule(
            pattern, replacement, remove_nodes=False
        )  # the input that is shared goes with its last use
        for pattern, replacement in (
            (_pointwise_of_dense, _dense_of_pointwise),
            (_pointwise_of_resized, _resized_pointwise),
        )
    ]
    return [
        # scales first: they have to reach a convolution before others take its place
        RewriteRuleSet([RewriteRule(_scaled_shuffle, _shuffle_of_scaled)], commute=True),
        RewriteRuleSet([conv_affine_fusion_rule], commute=True),
        RewriteRuleSet([RewriteRule(_pointwise_of_sum, _sum_of_pointwise)], commute=True),
        RewriteRuleSet([RewriteRule(_patches_to_pixels, _larger_patches_to_pixels), *moving]),
    ]


def _scaled_shuffle(op: Any, x: Any, scale: Any, offset: Any) -> Any:
    return op.DepthToSpace(x, _outputs=["shuffled"]) * scale + offset


def _shuffle_of_scaled(
    op: Any, x: ir.Value, scale: ir.Value, offset: ir.Value, shuffled: ir.Value
) -> ir.Value | None:
    """Scale before DepthToSpace, where a convolution can take the scale in."""
    if any((number := constant(value)) is None or number.size != 1 for value in (scale, offset)):
        return None
    result: ir.Value = op.DepthToSpace(op.Add(op.Mul(x, scale), offset), **attributes(shuffled))
    return result


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
    maps = op.Reshape(op.Gemm(x, weight, bias, transB=1), shape, _outputs=["maps"])
    return op.Conv(maps, _allow_other_inputs=True, _outputs=["result"])


def _dense_of_pointwise(
    op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, maps: ir.Value, result: ir.Value, **_: ir.Value
) -> ir.Value | None:
    """A 1x1 convolution of the maps of a dense layer as another dense layer, where that has less inputs.

    All that is done to the maps has to be convolution, so that none are computed in the end.
    """
    convolutions = [Convolution.of(node.outputs[0]) for node in maps.consumers()]
    if not all(other is not None and other.is_pointwise for other in convolutions):
        return None
    convolution, dense, offset = Convolution.of(result), constant(weight), constant(bias)
    if convolution is None or dense is None or offset is None or maps.shape is None:
        return None
    outputs, inputs = convolution.matrix.shape
    if dense.shape[1] >= inputs:
        return None
    merged = np.einsum("oi,ipx->opx", convolution.matrix, dense.reshape(inputs, -1, dense.shape[1]))
    shifted = convolution.matrix @ offset.reshape(inputs, -1) + convolution.bias[:, np.newaxis]
    product_ = op.Gemm(x, *weights(op, result, merged.reshape(-1, dense.shape[1]), shifted.ravel()), transB=1)
    reshaped: ir.Value = op.Reshape(product_, op.Constant(value_ints=[-1, outputs, *maps.shape[2:]]))
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
    resampled = outputs - (inputs if len(resized.uses()) == 1 else 0)
    activated = outputs if any(node.op_type == "LeakyRelu" for node in result.consumers()) else 0
    if saved <= RESAMPLE * resampled + ACTIVATE * activated:
        return None
    larger: ir.Value = op.Resize(
        op.Conv(x, *convolution.node.inputs[1:]), None, scales, **attributes(resized)
    )
    return larger


def _patches_to_pixels(op: Any, x: Any, low: Any, high: Any) -> Any:
    patches = op.Conv(x, _allow_other_inputs=True, _outputs=["patches"])
    shuffled = op.DepthToSpace(patches, mode="CRD", _outputs=["shuffled"])
    levels = op.Clip(op.Transpose(shuffled, perm=[0, 2, 3, 1]), low, high)
    return op.Cast(levels, to=ir.DataType.UINT8, _outputs=["image"])


def _larger_patches_to_pixels(
    op: Any,
    x: ir.Value,
    low: ir.Value,
    high: ir.Value,
    patches: ir.Value,
    shuffled: ir.Value,
    image: ir.Value,
) -> ir.Value | None:
    """The same in an order that moves bytes, a row of a patch at a time, instead of single floats.

    A convolution with few outputs leaves lanes of its kernel idle. It then computes two by two positions at
    once: with a stride of 2, and its kernel at the four places in one that is larger by 1.
    """
    convolution = Convolution.of(patches)
    sizes = [size for size in image.shape or () if isinstance(size, int)]
    if convolution is None or not convolution.is_dense or len(sizes) != 3:
        return None
    height, width, channels = sizes
    side = attributes(shuffled)["blocksize"].as_int()
    outputs, inputs, *kernel = convolution.weight.shape
    weight = convolution.weight.reshape(channels, side, side, inputs, *kernel).transpose(1, 2, 0, 3, 4, 5)
    bias = convolution.bias.reshape(channels, side, side).transpose(1, 2, 0)
    step = 2 if 2 * outputs <= LANES and height // side % 2 == width // side % 2 == 0 else 1
    wide = np.zeros((step * side, step * side, channels, inputs, *(size + step - 1 for size in kernel)))
    for row, column in product(range(step), repeat=2):
        pixels = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
        wide[*pixels, ..., row : row + kernel[0], column : column + kernel[1]] = weight
    constants = weights(
        op, patches, wide.reshape(-1, *wide.shape[3:]), np.tile(bias, (step, step, 1)).ravel()
    )
    padding = {"pads": attributes(patches)["pads"]} if "pads" in attributes(patches) else {}
    convolved = op.Conv(x, *constants, strides=[step, step], **padding)
    levels = op.Cast(op.Clip(op.Transpose(convolved, perm=[0, 2, 3, 1]), low, high), to=ir.DataType.UINT8)
    side *= step
    rows = [0, height // side, width // side, side, side * channels]
    moved = op.Transpose(op.Reshape(levels, op.Constant(value_ints=rows)), perm=[0, 1, 3, 2, 4])
    result: ir.Value = op.Reshape(moved, op.Constant(value_ints=[0, height, width, channels]))
    return result
