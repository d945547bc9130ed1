"""Small generators that keep the contract, for tests that need an exported file but no training."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log2, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.contract import MINIMUM_OPSET, Contract, ImageShape, Latent, Training, attach


def tiny_contract(
    name: str = "tiny",
    *,
    latent_dim: int = 8,
    classes: Sequence[str] = ("a", "b", "c"),
    height: int = 16,
    width: int = 16,
    channels: Literal[1, 3] = 3,
    distribution: Literal["normal", "uniform"] = "normal",
    truncation: Literal["latent", "mapping"] = "latent",
) -> Contract:
    """A contract for `tiny_generator`."""
    return Contract(
        name=name,
        latent=Latent(dim=latent_dim, distribution=distribution),
        classes=tuple(classes),
        image=ImageShape(height=height, width=width, channels=channels),
        truncation=truncation,
        training=Training(
            dataset="none", images_seen=0, architecture="cosines", loss="none", seed=0, source_commit="none"
        ),
        license="Apache-2.0",
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def tiny_generator(
    name: str = "tiny",
    *,
    latent_dim: int = 8,
    classes: Sequence[str] = ("a", "b", "c"),
    height: int = 16,
    width: int = 16,
    channels: Literal[1, 3] = 3,
    distribution: Literal["normal", "uniform"] = "normal",
    truncation: Literal["latent", "mapping"] = "latent",
) -> onnx.ModelProto:
    """A generator whose image is a sum of cosine waves, one a latent, around a grey that the label sets.

    The first class is the darkest (64), the last the brightest (192). Every sum is over integers that float32
    holds exactly in any order of summation, so a row's bytes cannot depend on the other rows of its batch.
    """
    contract = tiny_contract(
        name,
        latent_dim=latent_dim,
        classes=classes,
        height=height,
        width=width,
        channels=channels,
        distribution=distribution,
        truncation=truncation,
    )
    divisor = 2.0 ** round(log2(128 * sqrt(latent_dim)))
    initializers = [
        _constant("steps", np.float32(256)),
        _constant("low", np.float32(-4)),
        _constant("high", np.float32(4)),
        _constant("waves", _waves(latent_dim, height, width, channels)),
        _constant("divisor", np.float32(divisor)),
        _constant("black", np.float32(0)),
        _constant("white", np.float32(255)),
        _constant("pixels", np.array([0, height, width, channels], np.int64)),
    ]
    inputs = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", latent_dim])]
    latent = "latent"
    nodes = []
    if classes:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.FLOAT, ["batch", len(classes)]))
        greys = np.linspace(64, 192, len(classes), dtype=np.float32).round()[:, np.newaxis]
        initializers.append(_constant("greys", greys))
        nodes += [
            helper.make_node("Mul", ["label", "steps"], ["label_scaled"]),
            helper.make_node("Round", ["label_scaled"], ["label_steps"]),
            helper.make_node("MatMul", ["label_steps", "greys"], ["grey_steps"]),
            helper.make_node("Div", ["grey_steps", "steps"], ["grey"]),
        ]
    else:
        initializers.append(_constant("grey", np.float32(128)))
    if truncation == "mapping":
        inputs.append(helper.make_tensor_value_info("truncation", TensorProto.FLOAT, ["batch"]))
        initializers.append(_constant("last_axis", np.array([1], np.int64)))
        nodes += [
            helper.make_node("Unsqueeze", ["truncation", "last_axis"], ["truncation_column"]),
            helper.make_node("Mul", ["latent", "truncation_column"], ["latent_truncated"]),
        ]
        latent = "latent_truncated"
    nodes += [
        helper.make_node("Clip", [latent, "low", "high"], ["latent_clipped"]),
        helper.make_node("Mul", ["latent_clipped", "steps"], ["latent_scaled"]),
        helper.make_node("Round", ["latent_scaled"], ["latent_steps"]),
        helper.make_node("MatMul", ["latent_steps", "waves"], ["wave_steps"]),
        helper.make_node("Div", ["wave_steps", "divisor"], ["wave"]),
        helper.make_node("Add", ["wave", "grey"], ["raw"]),
        helper.make_node("Round", ["raw"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "black", "white"], ["clamped"]),
        helper.make_node("Cast", ["clamped"], ["row"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["row", "pixels"], ["image"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, channels])
    graph = helper.make_graph(nodes, "generator", inputs, [image], initializers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", MINIMUM_OPSET)],
        ir_version=10,
        producer_name="ganserve-tests",
    )
    attach(model, contract)
    return model


def _constant(name: str, value: npt.ArrayLike) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _waves(latent_dim: int, height: int, width: int, channels: int) -> npt.NDArray[np.float32]:
    """Whole numbers in [-15, 15], a plane wave a latent: float32 [latent_dim, height * width * channels]."""
    d, y, x, c = np.meshgrid(
        *(np.arange(size) for size in (latent_dim, height, width, channels)), indexing="ij", sparse=True
    )
    phase = 2 * np.pi * ((d % 3 + 1) * y / height + (d % 4) * x / width) + d + c
    return (15 * np.cos(phase)).round().astype(np.float32).reshape(latent_dim, -1)
