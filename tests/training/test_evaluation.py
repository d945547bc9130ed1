"""Against generators whose scores are known before: one that shows real images, one that has collapsed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.contract import attach
from models.shelf import Generator, Shelf
from tests.digits import digits
from tests.generators import tiny_contract, tiny_generator
from training.data import ImageData
from training.evaluation import Evaluation, EvaluationError, RealImages, evaluate, write

NAMES = tuple(f"digit {number}" for number in range(10))


def image_data(rows: slice) -> ImageData:
    images, labels = digits()
    larger = images.repeat(2, 1).repeat(2, 2)[..., None]
    return ImageData("digits", "", larger[rows], labels[rows], NAMES, ())


@pytest.fixture(scope="module")
def real() -> RealImages:
    return RealImages(train=image_data(slice(0, 1400)), test=image_data(slice(1400, 1797)))


def gallery(name: str, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
    """A generator that shows pictures [classes, n, 16, 16, 1]: the largest latent chooses among n."""
    classes, n, *_ = pictures.shape
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", n])
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, ["batch", classes])
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 16, 16, 1])
    nodes = [
        helper.make_node("ArgMax", ["label"], ["wall"], axis=1),
        helper.make_node("ArgMax", ["latent"], ["place"], axis=1),
        helper.make_node("Concat", ["wall", "place"], ["where"], axis=1),
        helper.make_node("GatherND", ["pictures", "where"], ["image"]),
    ]
    table = numpy_helper.from_array(pictures, "pictures")
    graph = helper.make_graph(nodes, "gallery", [latent, label], [image], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    attach(model, tiny_contract(name, latent_dim=n, classes=NAMES, channels=1))
    return model


def pictures(real: RealImages, per_class: int) -> NDArray[np.uint8]:
    chosen = [real.train.images[real.train.labels == number][:per_class] for number in range(10)]
    return np.stack(chosen)


def measure(generator: Generator, real: RealImages) -> Evaluation:
    return evaluate(generator, real, images=2_000, seed=0, presentations=15_000)


def test_real_images_score_like_real_images(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", pictures(real, per_class=120)))
    scores = measure(generator, real).overall
    assert scores.real_accuracy > 0.93
    assert scores.label_agreement > 0.97
    assert scores.cas > 0.9
    assert scores.deviation_ratio == pytest.approx(1, abs=0.06)


def test_collapse_passes_agreement_and_fails_the_rest(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("collapsed", pictures(real, per_class=1)))
    scores = measure(generator, real).overall
    assert scores.label_agreement > 0.97
    assert scores.cas < 0.75
    assert scores.deviation_ratio == 0


def test_swapped_labels_are_seen_class_by_class(real: RealImages, tmp_path: Path) -> None:
    order = [1, 0, *range(2, 10)]
    generator = Shelf(tmp_path).place(gallery("swapped", pictures(real, per_class=120)[order]))
    by_class = measure(generator, real).by_class
    assert by_class["digit 0"].label_agreement < 0.1
    assert by_class["digit 1"].cas < 0.2
    assert by_class["digit 5"].label_agreement > 0.9


def test_classes_are_matched_by_name(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", pictures(real, per_class=120)))
    backwards = RealImages(
        *(replace(data, labels=9 - data.labels, classes=NAMES[::-1]) for data in (real.train, real.test))
    )
    assert measure(generator, backwards).overall.label_agreement > 0.97


def test_evaluation_stands_beside_the_version_and_in_the_card(real: RealImages, tmp_path: Path) -> None:
    generator = Shelf(tmp_path).place(gallery("real", pictures(real, per_class=50)))
    before = generator.path.read_bytes()
    measured = evaluate(generator, real, images=200, seed=0, presentations=1_000)
    path = write(generator, measured)
    assert path == tmp_path / "real" / "1" / "evaluation.json"
    document = json.loads(path.read_text())
    assert document["digest"] == generator.digest
    assert document["overall"]["cas"] == measured.overall.cas
    assert generator.path.read_bytes() == before
    card = (tmp_path / "real" / "README.md").read_text()
    assert f"| digit 3 | {measured.by_class['digit 3'].real_accuracy:.1%} |" in card
    assert f"{measured.overall.cas:.1%}" in card


def test_other_classes_are_refused(real: RealImages, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with pytest.raises(
        EvaluationError, match=r"tiny:1 has the classes a, b, c; the images of digits have digit 0"
    ):
        measure(shelf.place(tiny_generator()), real)
    with pytest.raises(EvaluationError, match="is unconditional"):
        measure(shelf.place(tiny_generator("plain", classes=())), real)
