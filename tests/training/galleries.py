"""Generators whose worth is known before, for they show pictures that they were given."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.contract import attach
from tests.digits import digits
from tests.generators import tiny_contract
from training.data import ImageData
from training.subject import RealImages

NAMES = tuple(f"digit {number}" for number in range(10))


def image_data(rows: slice) -> ImageData:
    """Handwritten digits at 16x16."""
    images, labels = digits()
    larger = images.repeat(2, 1).repeat(2, 2)[..., None]
    return ImageData("digits", f"digits {rows}", larger[rows], labels[rows], NAMES, ())


def real_digits() -> RealImages:
    return RealImages(train=image_data(slice(0, 1400)), test=image_data(slice(1400, 1797)))


def chosen(real: RealImages, per_class: int) -> NDArray[np.uint8]:
    """The first training images of each class: [classes, per_class, 16, 16, 1]."""
    rows = [real.train.images[real.train.labels == number][:per_class] for number in range(10)]
    return np.stack(rows)


def gallery(name: str, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
    """Shows pictures [classes, n, H, W, C] or [n, H, W, C]; the largest latent chooses among n."""
    *walls, n, side, _, channels = pictures.shape
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", n])
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, ["batch", *walls])
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", side, side, channels])
    place = helper.make_node("ArgMax", ["latent"], ["place"], axis=1)
    if walls:
        nodes = [
            place,
            helper.make_node("ArgMax", ["label"], ["wall"], axis=1),
            helper.make_node("Concat", ["wall", "place"], ["where"], axis=1),
            helper.make_node("GatherND", ["pictures", "where"], ["image"]),
        ]
    else:
        nodes = [place, helper.make_node("GatherND", ["pictures", "place"], ["image"])]
    table = numpy_helper.from_array(pictures, "pictures")
    graph = helper.make_graph(nodes, "gallery", [latent, label] if walls else [latent], [image], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = tiny_contract(
        name,
        latent_dim=n,
        classes=NAMES if walls else (),
        height=side,
        width=side,
        channels=1 if channels == 1 else 3,
    )
    attach(model, contract)
    return model
