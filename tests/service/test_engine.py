"""The engine with real ONNX Runtime sessions, as they are on the CPU and in buffers as on a GPU."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.shelf import Generator
from service.batching import BatchSize
from service.cpu import Cpu
from service.device import Device
from service.engine import Engine
from service.errors import DeviceLost, EngineError
from service.latents import classes, latents, words
from service.rows import Rows
from tests.generators import tiny_generator
from tests.service.devices import BoundCpu, Breakable, Wide
from tests.service.generators import (
    batch_dependent_generator,
    convolutional_generator,
    placed,
    uneven_generator,
)

DEVICES = pytest.mark.parametrize("device", [Cpu(1), BoundCpu()], ids=str)


def rows(generator: Generator, n: int, *, start: int = 0) -> Rows:
    contract = generator.contract
    drawn = words(3, start, n, contract.latent.dim)
    return Rows(
        latents(drawn, contract.latent.distribution),
        classes(drawn, len(contract.classes)) if contract.classes else None,
        np.full(n, 0.5, np.float32) if contract.truncation == "mapping" else None,
    )


def warm_engine(generator: Generator, device: Device = Cpu(1), *, max_batch: int = 64) -> Engine:  # noqa: B008
    engine = Engine(generator, device, max_batch=max_batch)
    engine.warm_up()
    return engine


@DEVICES
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
def test_images_are_those_of_the_exported_graph(
    model: onnx.ModelProto, device: Device, tmp_path: Path
) -> None:
    generator = placed(tmp_path, model)
    asked = rows(generator, 5)
    feeds = {"latent": asked.latents}
    if asked.labels is not None:
        feeds["label"] = np.eye(len(generator.contract.classes), dtype=np.float32)[asked.labels]
    if asked.truncation is not None:
        feeds["truncation"] = asked.truncation
    [expected] = onnxruntime.InferenceSession(generator.path).run(None, feeds)
    assert np.array_equal(warm_engine(generator, device).run(asked), expected)
    assert expected.std() > 1


@DEVICES
def test_a_row_has_the_same_bytes_in_every_batch(device: Device, tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    engine = warm_engine(generator, device)
    asked = rows(generator, 64)
    together = engine.run(asked)
    for size in (1, 2, 3, 7, 16, 33, 63):
        for start in range(0, 64 - size + 1, max(1, size // 2)):
            assert np.array_equal(engine.run(asked[start : start + size]), together[start : start + size])


def test_threads_that_run_at_once_get_their_own_rows(tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    engine = warm_engine(generator)
    asked = rows(generator, 64)
    together = engine.run(asked)
    parts = [slice(start, start + 7) for start in range(57)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda part: engine.run(asked[part]), parts))
    for part, images in zip(parts, answers, strict=True):
        assert np.array_equal(images, together[part])


@DEVICES
def test_a_convolutional_generator_keeps_its_batches(
    device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warm_engine(placed(tmp_path, convolutional_generator()), device)
    assert not caplog.records


@DEVICES
def test_images_that_were_handed_out_are_not_overwritten(device: Device, tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    engine = warm_engine(generator, device)
    first = engine.run(rows(generator, 16))
    before = first.copy()
    engine.run(rows(generator, 16, start=100))
    assert np.array_equal(first, before)


@pytest.mark.parametrize(
    ("device", "size"),
    [
        (BoundCpu(), BatchSize(64, fill=64)),
        (Cpu(1), BatchSize(64, fill=8)),
        (Breakable(seconds=0.008), BatchSize(19, fill=8)),
        (Breakable(seconds=0.03), BatchSize(8, fill=8)),
    ],
    ids=["prepared", "quick", "slow", "slower"],
)
def test_batches_on_a_cpu_are_no_longer_than_they_are_worth(
    device: Device, size: BatchSize, tmp_path: Path
) -> None:
    """The slow ones take so many seconds for 8 rows; a batch shall take 20 ms, or be one of 8 rows."""
    engine = warm_engine(placed(tmp_path, tiny_generator()), device)
    assert engine.size.fill == size.fill
    assert size.most - 4 <= engine.size.most <= size.most


def test_batches_are_no_larger_than_they_may_be(tmp_path: Path) -> None:
    assert warm_engine(placed(tmp_path, tiny_generator()), max_batch=4).size == BatchSize(4, fill=4)


def test_prepared_buffers_pad_and_the_cpu_does_not(tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    bound, free = warm_engine(generator, BoundCpu(), max_batch=48), warm_engine(generator, max_batch=48)
    assert [bound.padded(n) for n in (1, 2, 3, 5, 33, 48)] == [1, 2, 4, 8, 48, 48]
    assert [free.padded(n) for n in (1, 2, 3, 5, 33, 48)] == [1, 2, 3, 5, 33, 48]


def test_prepared_sizes_that_give_other_images_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = placed(tmp_path, uneven_generator(other_up_to=4))
    engine = warm_engine(generator, BoundCpu())
    assert "uneven:1 gives other images in batches of some sizes: " in caplog.text
    assert "in batches of 8, 16, 32, 64 rows only" in caplog.text
    assert [engine.padded(n) for n in (1, 5, 8, 9)] == [8, 8, 8, 16]
    for n in (1, 3, 9, 64):
        assert (engine.run(rows(generator, n)) == 0).all()
        assert len(engine.run(rows(generator, n))) == n


def test_the_cpu_does_not_pad_a_generator_that_depends_on_its_batch(tmp_path: Path) -> None:
    generator = placed(tmp_path, uneven_generator(other_up_to=4))
    engine = warm_engine(generator)
    assert (engine.run(rows(generator, 9)) == 1).all()


def test_a_batch_that_fails_on_a_device_that_works_is_only_a_failed_batch(tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    device = Breakable()
    engine = warm_engine(generator, device)
    device.failures = 1
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        engine.run(rows(generator, 4))
    assert len(engine.run(rows(generator, 4))) == 4


def test_a_batch_that_fails_on_a_device_that_fails_again_is_the_end_of_the_device(tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator())
    device = Breakable()
    engine = warm_engine(generator, device)
    device.broken = True
    message = "^the breakable CPU has failed: CUDA failure 719: unspecified launch failure$"
    with pytest.raises(DeviceLost, match=message):
        engine.run(rows(generator, 4))


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
    with pytest.raises(EngineError, match=r"model.onnx: ONNX Runtime cannot load it on the CPU ") as refusal:
        Engine(generator, Cpu(1), max_batch=4)
    assert "\n" not in str(refusal.value)


def test_a_graph_that_fails_when_it_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    model = tiny_generator()
    pixels = next(tensor for tensor in model.graph.initializer if tensor.name == "pixels")
    pixels.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 16, 16, 5], np.int64), "pixels"))
    path = tmp_path / "model.onnx"
    generator = placed(tmp_path, tiny_generator())
    onnx.save(model, path)
    broken = Generator("tiny", 1, path, generator.digest, generator.contract)
    engine = Engine(broken, Cpu(1), max_batch=4)
    with pytest.raises(EngineError, match=r"model.onnx: ONNX Runtime cannot run it on the CPU ") as refusal:
        engine.warm_up()
    assert "\n" not in str(refusal.value)


def test_who_is_alone_has_the_whole_device_and_gets_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.WORTH_THE_WHOLE", 0)
    generator = placed(tmp_path, convolutional_generator())
    device = Wide()
    engine, asked = warm_engine(generator, device), rows(generator, 9)
    expected, before = engine.run(asked), device.runs
    assert np.array_equal(engine.run(asked[:5], alone=True), expected[:5])
    assert device.runs == before + 1
    engine.run(asked[:5])
    engine.run(asked, alone=True)  # so many are shared by the workers
    assert device.runs == before + 1


def test_a_whole_device_that_gives_other_bytes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.WORTH_THE_WHOLE", 0)
    generator = placed(tmp_path, convolutional_generator())
    engine, asked = warm_engine(generator, Wide(lifted=1)), rows(generator, 2)
    assert np.array_equal(engine.run(asked, alone=True), engine.run(asked))


def test_several_threads_give_the_bytes_of_one(tmp_path: Path) -> None:
    generator = placed(tmp_path, convolutional_generator("slow", width=256))
    one = Cpu(2).open(generator, 64)
    several = one.whole()
    assert several is not None
    assert several.whole() is None
    feeds = {"latent": rows(generator, 5).latents, "label": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]}
    assert np.array_equal(one.run(feeds), several.run(feeds))
