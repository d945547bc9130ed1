"""Rules for the end of a generator that makes patches: a convolution, DepthToSpace, and grey levels."""

from itertools import product
from math import ceil
from typing import Any

import numpy as np
from onnxscript import ir
from onnxscript.rewriter import RewriteRule

from training.convolution import Convolution, attributes, constant, weights

# How many positions a convolution that makes patches may compute at once, down and to the right.
STEPS = ((1, 1), (1, 2), (2, 2))


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

    A convolution with few outputs leaves its kernels idle. Where it pays it computes neighbouring positions
    at once: with a stride, and its weights at as many places in a larger kernel.
    """
    convolution = Convolution.of(patches)
    sizes = [size for size in image.shape or () if isinstance(size, int)]
    if convolution is None or not convolution.is_dense or len(sizes) != 3:
        return None
    height, width, channels = sizes
    side = attributes(shuffled)["blocksize"].as_int()
    _, inputs, *kernel = convolution.weight.shape
    weight = convolution.weight.reshape(channels, side, side, inputs, *kernel).transpose(1, 2, 0, 3, 4, 5)
    bias = convolution.bias.reshape(channels, side, side).transpose(1, 2, 0)
    fitting = [
        (down, right) for down, right in STEPS if height % (down * side) == 0 == width % (right * side)
    ]
    down, right = min(fitting, key=lambda step: _work(convolution.weight.shape, step))
    larger = np.zeros(
        (down * side, right * side, channels, inputs, kernel[0] + down - 1, kernel[1] + right - 1)
    )
    for row, column in product(range(down), range(right)):
        pixels = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
        larger[*pixels, ..., row : row + kernel[0], column : column + kernel[1]] = weight
    constants = weights(
        op, patches, larger.reshape(-1, *larger.shape[3:]), np.tile(bias, (down, right, 1)).ravel()
    )
    padding = {"pads": attributes(patches)["pads"]} if "pads" in attributes(patches) else {}
    convolved = op.Conv(x, *constants, strides=[down, right], **padding)
    levels = op.Cast(op.Clip(op.Transpose(convolved, perm=[0, 2, 3, 1]), low, high), to=ir.DataType.UINT8)
    rows, columns = down * side, right * side
    split = op.Constant(value_ints=[0, height // rows, width // columns, rows, columns * channels])
    moved = op.Transpose(op.Reshape(levels, split), perm=[0, 1, 3, 2, 4])
    result: ir.Value = op.Reshape(moved, op.Constant(value_ints=[0, height, width, channels]))
    return result


def _work(shape: tuple[int, ...], step: tuple[int, int]) -> float:
    """What a convolution costs a position when it computes `step` of them at once.

    Kernels on AVX2 compute 8 outputs a register, up to 4 registers and 3 positions at once, and wait unless
    they have 8 sums under way.
    """
    registers = ceil(shape[0] * step[0] * step[1] / 8)
    passes = (min(4, registers - first) for first in range(0, registers, 4))
    taps = (shape[2] + step[0] - 1) * (shape[3] + step[1] - 1) / (step[0] * step[1])
    return taps * sum(max(together, 8 / 3) for together in passes)


SCALE_BEFORE_SHUFFLE = RewriteRule(_scaled_shuffle, _shuffle_of_scaled)
PATCHES_AS_BYTES = RewriteRule(_patches_to_pixels, _larger_patches_to_pixels)
