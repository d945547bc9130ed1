import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from models.contract import Contract, check
from models.shelf import Shelf
from tests.generators import tiny_contract
from training import export, run
from training.card import CardError
from training.data import ImageData
from training.export import Export, export_run, to_onnx
from training.exported import ExportedGenerator
from training.game import Game
from training.networks import Generator, build, to_pixels
from training.parity import PARITY_BATCHES, Parity, ParityError, compare
from training.run import RunRecord
from training.stopping import Measurement


@pytest.fixture(scope="module")
def trained(record: RunRecord, digits_data: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that took a few steps, only to be read."""
    game = Game(record, torch.device("cpu"))
    for _ in range(4):
        game.step(digits_data)
    folder = tmp_path_factory.mktemp("run")
    run.write(folder, record)
    game.save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """That run, exported to a shelf of its own."""
    return export_run(trained, "digits", "mit", Shelf(tmp_path_factory.mktemp("models")))


def restored(folder: Path) -> Game:
    game = Game(run.read(folder), torch.device("cpu"))
    game.load(folder)
    return game


def test_the_file_keeps_its_contract_and_draws_what_pytorch_draws(trained: Path, exported: Export) -> None:
    shelved, parities, *_ = exported
    assert [parity.batch for parity in parities] == list(PARITY_BATCHES)
    contract = shelved.contract
    assert contract.classes == tuple("0123456789")
    assert (contract.image.height, contract.image.channels) == (16, 1)
    assert (contract.training.images_seen, contract.training.seed) == (32, 3)
    assert contract.license == "mit"
    session = onnxruntime.InferenceSession(shelved.path, providers=["CPUExecutionProvider"])
    latent = np.random.default_rng(1).standard_normal((5, 64), np.float32)
    label = np.full((5, 10), 0.1, np.float32)  # a mixture of all classes
    (images,) = session.run(None, {"latent": latent, "label": label})
    with torch.no_grad():
        average = restored(trained).average
        expected = to_pixels(average(torch.from_numpy(latent), torch.from_numpy(label))).numpy()
    assert images.dtype == np.uint8
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert images.std() > 0


def test_the_best_is_exported_or_else_the_newest(
    trained: Path, exported: Export, digits_data: ImageData, tmp_path: Path
) -> None:
    assert (exported.images_seen, exported.measured) == (32, None)
    folder = shutil.copytree(trained, tmp_path / "run")
    game = Game(run.read(folder), torch.device("cpu"))
    game.step(digits_data)
    measured = Measurement(8, 1.5, 0.5, 0.8, 0.6, "3", 0.7, 0.7, {"3": 0.6})
    game.progress.measured.append(measured)
    game.save(folder, run.BEST_FILE)
    best = export_run(folder, "digits", "mit", Shelf(tmp_path / "models"))
    assert (best.images_seen, best.measured) == (8, measured)
    assert best.generator.contract.training.images_seen == 8
    labels = np.arange(10)
    drawn = ExportedGenerator(best.generator.path, best.generator.contract).generate(labels, 0)
    latents = np.random.default_rng(0).standard_normal((10, 64), np.float32)
    with torch.no_grad():
        expected = to_pixels(game.average(torch.from_numpy(latents), torch.eye(10))).numpy()
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_the_newest_is_not_told_as_the_best(trained: Path, digits_data: ImageData, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")
    game = restored(folder)
    game.progress.measured.append(Measurement(8, 1.5, 0.5, 0.8, 0.6, "3", 0.7, 0.7, {"3": 0.6}))
    game.settle(digits_data)
    game.save(folder)
    newest = export_run(folder, "digits", "mit", Shelf(tmp_path / "models"))
    assert (newest.images_seen, newest.measured) == (32, None)


def test_samples_and_card_stand_beside_it(exported: Export) -> None:
    shelved = exported.generator
    with Image.open(shelved.path.with_name("samples.png")) as samples:
        assert samples.size == (160, 160)  # ten of each class
    card = (shelved.path.parents[1] / "README.md").read_text()
    assert shelved.digest in card
    assert "| Images seen | 32 |" in card


def test_no_path_of_this_machine_leaves_with_the_file(trained: Path, exported: Export) -> None:
    shelved = exported.generator.path
    content = shelved.read_bytes()
    for folder in (Path(export.__file__).parents[1], trained, shelved.parent):
        assert str(folder).encode() not in content


def test_an_unconditional_generator_has_no_label(record: RunRecord, tmp_path: Path) -> None:
    bare = record.model_copy(update={"data": record.data.model_copy(update={"classes": ()})})
    folder = tmp_path / "run"
    folder.mkdir()
    run.write(folder, bare)
    Game(bare, torch.device("cpu")).save(folder)
    shelved, *_ = export_run(folder, "plain", "mit", Shelf(tmp_path / "models"))
    session = onnxruntime.InferenceSession(shelved.path, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["latent"]
    assert shelved.path.with_name("samples.png").exists()


def test_the_gate_refuses_another_graph(trained: Path) -> None:
    game = restored(trained)
    contract = export.contract_of(run.read(trained), game, "digits", "mit")
    model = to_onnx(game.average, contract)
    assert compare(game.average, model, contract, 7).holds
    game.average.to_image.weight.mul_(1.05)
    parity = compare(game.average, model, contract, 7)
    assert not parity.holds
    assert parity.worst > 1


def test_nothing_is_written_when_the_gate_refuses(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_other_weights(generator: Generator, contract: Contract) -> onnx.ModelProto:
        generator.to_image.weight.neg_()
        model = to_onnx(generator, contract)
        generator.to_image.weight.neg_()
        return model

    monkeypatch.setattr(export, "to_onnx", of_other_weights)
    models = tmp_path / "models"
    with pytest.raises(ParityError, match=r"nothing was written; batch \d+: at most \d+ grey levels apart"):
        export_run(trained, "digits", "mit", Shelf(models))
    assert not models.exists()


def test_nothing_is_placed_under_a_card_that_cannot_be_kept(trained: Path, tmp_path: Path) -> None:
    card = tmp_path / "models" / "digits" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("---\ntitle: a: b\n---\n")
    with pytest.raises(CardError, match=r"README\.md cannot be read"):
        export_run(trained, "digits", "mit", Shelf(tmp_path / "models"))
    assert list(card.parent.iterdir()) == [card]


@pytest.mark.parametrize(
    ("worst", "equal", "holds"),
    [(0, 1.0, True), (1, 0.999, True), (1, 0.9989, False), (2, 0.9999, False)],
)
def test_the_gate_stands_at_one_grey_level_and_999_of_1000_pixels(
    worst: int, equal: float, holds: bool
) -> None:
    assert Parity(1, worst, equal).holds is holds


@pytest.mark.parametrize(
    ("architecture", "preset", "channels", "classes"),
    [
        ("r3gan", "tiny", 1, ("a", "b")),
        ("r3gan", "tiny", 3, ()),
        ("r3gan", "small", 3, ("a", "b")),
        ("r3gan", "base", 3, ()),
        ("dcgan", "tiny", 3, ("a", "b")),
    ],
)
def test_every_preset_draws_what_pytorch_draws_in_any_batch(
    architecture: str, preset: str, channels: Literal[1, 3], classes: tuple[str, ...]
) -> None:
    generator, _ = build(architecture, preset, 16, channels, len(classes), "none")
    generator.eval().requires_grad_(requires_grad=False)
    for name, weight in generator.state_dict().items():
        if weight.is_floating_point() and not (weight - weight.flatten()[0]).any():
            # zeros and ones, of which training leaves none
            weight.add_(torch.rand_like(weight) * 0.5 if "var" in name else torch.randn_like(weight) * 0.1)
    contract = tiny_contract(preset, latent_dim=generator.latent_dim, classes=classes, channels=channels)
    model = to_onnx(generator, contract)
    check(model)
    assert compare(generator, model, contract, 64).holds
    assert_independent_of_batch(model)


def test_a_row_is_the_same_bytes_in_any_batch(exported: Export) -> None:
    model = onnx.load(exported.generator.path)
    check(model)
    assert_independent_of_batch(model)


def assert_independent_of_batch(model: onnx.ModelProto) -> None:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(2)
    latent, *label = (value.shape[1] for value in session.get_inputs())
    rows = {"latent": draws.standard_normal((64, latent), np.float32)}
    if label:
        rows["label"] = np.eye(label[0], dtype=np.float32)[np.arange(64) % label[0]]
    (together,) = session.run(None, rows)
    assert together.std() > 0
    for size in (1, 3, 7):
        parts = [
            session.run(None, {name: value[at : at + size] for name, value in rows.items()})[0]
            for at in range(0, 64, size)
        ]
        assert np.concatenate(parts).tobytes() == together.tobytes()
