"""A real GPU: the same bytes in every batch, the CPU's pictures, and graphs that are captured once."""

import numpy as np
import onnx
import onnxruntime
import pytest

from models.shelf import Generator, Shelf
from service import cuda
from service.buckets import buckets
from service.cpu import Cpu
from service.cuda import Cuda
from service.device import choose
from service.engine import Engine
from tests.generators import tiny_generator
from tests.service.devices import with_gpu
from tests.service.generators import convolutional_generator, placed
from tests.service.server import ROOT
from tests.service.test_engine import rows, warm_engine

pytestmark = with_gpu

SHIPPED = Shelf(ROOT / "models").list()


def differing(engine: Engine, generator: Generator) -> tuple[int, float]:
    """Against the CPU: the most grey levels apart, and the share of equal values."""
    asked = rows(generator, 64, start=1000)
    expected = warm_engine(generator, Cpu(4)).run(asked).astype(int)
    apart = np.abs(engine.run(asked) - expected)
    return int(apart.max()), float((apart == 0).mean())


@pytest.mark.parametrize("generator", SHIPPED, ids=lambda found: found.reference)
def test_a_shipped_generator_draws_what_it_draws_on_the_cpu(
    generator: Generator, caplog: pytest.LogCaptureFixture
) -> None:
    engine = warm_engine(generator, Cuda())
    worst, equal = differing(engine, generator)
    assert worst <= 1
    assert equal >= 0.999  # the gate of the export
    assert "one row at a time" not in caplog.text


@pytest.mark.parametrize(
    "model",
    [
        convolutional_generator(),
        tiny_generator(truncation="mapping"),
        tiny_generator(classes=(), channels=1, distribution="uniform"),
    ],
    ids=["convolutional", "mapping", "unconditional"],
)
def test_other_generators_draw_what_they_draw_on_the_cpu(
    model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = placed(tmp_path_factory.mktemp("shelf"), model)
    assert differing(warm_engine(generator, Cuda()), generator)[0] <= 1


@pytest.mark.parametrize("generator", SHIPPED, ids=lambda found: found.reference)
def test_a_row_has_the_same_bytes_in_every_batch_and_session(generator: Generator) -> None:
    engine, other = warm_engine(generator, Cuda()), warm_engine(generator, Cuda(), max_batch=48)
    asked = rows(generator, 64)
    together = engine.run(asked)
    for size in range(1, 65):
        assert np.array_equal(engine.run(asked[:size]), together[:size]), size
        assert np.array_equal(engine.run(asked[64 - size :]), together[64 - size :]), size
    assert np.array_equal(engine.run(asked), together)
    assert np.array_equal(other.run(asked[:48]), together[:48])


def test_each_bucket_is_captured_once_before_readiness(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def talkative() -> onnxruntime.SessionOptions:
        options = quiet()
        options.log_severity_level = 1  # the provider's logger is the session's
        return options

    quiet = cuda._options  # noqa: SLF001 - nothing public says how much a session tells
    monkeypatch.setattr(cuda, "_options", talkative)
    onnxruntime.set_default_logger_severity(1)
    try:
        engine = warm_engine(SHIPPED[0], Cuda())
        warming = capfd.readouterr().err
        for size in range(1, 65):
            engine.run(rows(SHIPPED[0], size))
        serving = capfd.readouterr().err
    finally:
        onnxruntime.set_default_logger_severity(2)
    assert warming.count("Capturing the cuda graph for this model") == len(buckets(64))
    assert "Capturing the cuda graph" not in serving
    assert serving.count("Replaying CUDA graph") >= 64


def test_generators_that_share_the_gpu_do_not_disturb_each_other(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    generators = [
        placed(tmp_path_factory.mktemp("shelf"), convolutional_generator(width=width)) for width in (24, 48)
    ]
    engines = [warm_engine(generator, Cuda()) for generator in generators]
    asked = [rows(generator, 64) for generator in generators]
    alone = [engine.run(ask) for engine, ask in zip(engines, asked, strict=True)]
    for size in (1, 7, 64, 33, 2):
        for engine, ask, expected in zip(engines, asked, alone, strict=True):
            assert np.array_equal(engine.run(ask[:size]), expected[:size])


def test_auto_takes_the_gpu() -> None:
    assert str(choose("auto", threads=1)) == "an NVIDIA GPU through CUDA"
