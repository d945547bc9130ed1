"""The engine with real ONNX Runtime sessions."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.shelf import Generator
from service.engine import Engine
from service.errors import EngineError
from service.latents import classes, latents, words
from service.rows import Rows
from tests.generators import tiny_generator
from tests.service.generators import batch_dependent_generator, convolutional_generator, placed


def rows(generator: Generator, n: int, *, start: int = 0) -> Rows:
    contract = generator.contract
    drawn = words(3, start, n, contract.latent.dim)
    return Rows(
        latents(drawn, contract.latent.distribution),
        classes(drawn, len(contract.classes)) if contract.classes else None,
        np.full(n, 0.5, np.float32) if contract.truncation == "mapping" else None,
    )


def warm_engine(generator: Generator, *, threads: int = 2, max_batch: int = 64) -> Engine:
    engine = Engine(generator, threads=threads, max_batch=max_batch)
    engine.warm_up()
    return engine


@pytest.mark.parametrize(
    "model",
    [
        tiny_generator(),
        tiny_generator(classes=(), channels=1, distribution="uniform"),
        tiny_generator(truncation="mapping"),
        tiny_generator(classes=(), truncation="mapping"),
        convolutional_generator(),
    ],
    ids=["conditional", "unconditional", "mapping", "unconditional mapping", "convolutional"],
)
def test_images_are_those_of_the_exported_graph(model: onnx.ModelProto, tmp_path: Path) -> None:
    generator = placed(tmp_path, model)
    asked = rows(generator, 5)
    feeds = {"latent": asked.latents}
    if asked.labels is not None:
        feeds["label"] = np.eye(len(generator.contract.classes), dtype=np.float32)[asked.labels]
    if asked.truncation is not None:
        feeds["truncation"] = asked.truncation
    [expected] = onnxruntime.InferenceSession(generator.path).run(None, feeds)
    assert np.array_equal(warm_engine(generator).run(asked), expected)
    assert expected.std() > 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_has_the_same_bytes_in_every_batch(threads: int, tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    engine = warm_engine(generator, threads=threads)
    asked = rows(generator, 64)
    together = engine.run(asked)
    for size in (1, 2, 3, 7, 16, 33, 63):
        for start in range(0, 64 - size + 1, max(1, size // 2)):
            assert np.array_equal(engine.run(asked[start : start + size]), together[start : start + size])


def test_a_convolutional_generator_keeps_its_batches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warm_engine(placed(tmp_path, convolutional_generator()))
    assert not caplog.records


def test_a_generator_that_depends_on_its_batch_is_run_row_by_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = placed(tmp_path, batch_dependent_generator())
    engine = warm_engine(generator)
    assert "fickle:1 gives other images in other batches" in caplog.text
    for n in (1, 5, 64):
        assert (engine.run(rows(generator, n)) == 1).all()
        assert len(engine.run(rows(generator, n))) == n


def test_a_file_that_onnx_runtime_cannot_load_is_refused_in_one_line(tmp_path: Path) -> None:
    generator = placed(tmp_path, tiny_generator())
    generator.path.write_bytes(generator.path.read_bytes()[:-100])
    with pytest.raises(EngineError, match=r"model.onnx: ONNX Runtime cannot load it: ") as refusal:
        Engine(generator, threads=1, max_batch=4)
    assert "\n" not in str(refusal.value)


def test_a_graph_that_fails_when_it_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    model = tiny_generator()
    pixels = next(tensor for tensor in model.graph.initializer if tensor.name == "pixels")
    pixels.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 16, 16, 5], np.int64), "pixels"))
    path = tmp_path / "model.onnx"
    generator = placed(tmp_path, tiny_generator())
    onnx.save(model, path)
    broken = Generator("tiny", 1, path, generator.digest, generator.contract)
    engine = Engine(broken, threads=1, max_batch=4)
    with pytest.raises(EngineError, match=r"model.onnx: ONNX Runtime cannot run it: ") as refusal:
        engine.warm_up()
    assert "\n" not in str(refusal.value)
