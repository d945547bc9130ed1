"""Which device is chosen, and what is said of one that cannot be had."""

import logging
from pathlib import Path

import pytest

from service.cuda import tensorrt_settings
from service.device import choose
from service.errors import EngineError, in_short
from service.settings import DeviceName
from tests.generators import tiny_generator
from tests.service.devices import without_cuda, without_gpu, without_tensorrt
from tests.service.generators import convolutional_generator, placed


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What BentoML's logger prints, which does not propagate."""
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    caplog.set_level(logging.INFO, "bentoml.service")
    return caplog


def test_the_cpu_is_taken_when_it_is_asked_for() -> None:
    assert str(choose("cpu", threads=3)) == "the CPU with 3 threads"
    assert str(choose("cpu", threads=1)) == "the CPU with 1 thread"


@pytest.mark.parametrize(
    "wanted", [pytest.param("cuda", marks=without_gpu), pytest.param("tensorrt", marks=without_tensorrt)]
)
def test_a_gpu_that_is_asked_for_and_cannot_be_had_is_refused_in_one_line(wanted: DeviceName) -> None:
    with pytest.raises(EngineError) as refusal:
        choose(wanted, threads=1)
    message = str(refusal.value)
    assert message.startswith(f"GANSERVE_DEVICE is '{wanted}', but ")
    assert "install" in message or "nvidia-smi" in message
    assert message.endswith(", or set GANSERVE_DEVICE=cpu")
    assert "\n" not in message


@without_cuda
def test_an_onnx_runtime_without_cuda_names_the_one_with_it() -> None:
    with pytest.raises(EngineError, match="is built without CUDA; install 'onnxruntime-gpu"):
        choose("cuda", threads=1)
    with pytest.raises(EngineError, match="is built without Tensorrt; install 'onnxruntime-gpu"):
        choose("tensorrt", threads=1)


@without_gpu
def test_auto_takes_the_cpu_and_says_why(log: pytest.LogCaptureFixture) -> None:
    assert str(choose("auto", threads=2)) == "the CPU with 2 threads"
    [message] = [record.getMessage() for record in log.records]
    assert message.startswith("Computing on the CPU with 2 threads: GANSERVE_DEVICE is 'auto', and ")


def test_tensorrt_keeps_the_engines_of_generators_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one shape would have the same engine, since the provider does not look at weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generators = [placed(tmp_path / str(width), convolutional_generator(width=width)) for width in (24, 32)]
    folders = [tensorrt_settings(found, 48)["trt_engine_cache_path"] for found in generators]
    assert len(set(folders)) == 2
    for folder, generator in zip(folders, generators, strict=True):
        assert Path(folder).is_dir()
        assert Path(folder).is_relative_to(tmp_path / "cache" / "ganserve" / "tensorrt")
        assert Path(folder).name == generator.digest


def test_tensorrt_is_told_all_batch_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = tensorrt_settings(placed(tmp_path, tiny_generator(truncation="mapping")), 48)
    assert told["trt_profile_min_shapes"] == "latent:1x8,label:1x3,truncation:1"
    assert told["trt_profile_opt_shapes"] == "latent:48x8,label:48x3,truncation:48"
    assert told["trt_profile_max_shapes"] == told["trt_profile_opt_shapes"]


# As onnxruntime-gpu 1.31.1 says it with a driver that is too old.
CUDA_FAILURE = """\
/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void,
onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*,
const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError] CUDA failure 35: CUDA
driver version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ;
file=cuda_execution_provider.cc ; line=355 ; expr=cudaSetDevice(info_.device_id);"""


def test_a_failure_of_cuda_is_told_without_the_source_around_it() -> None:
    expected = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    assert in_short(RuntimeError(CUDA_FAILURE)) == expected
    assert in_short(RuntimeError("no such\n  file")) == "no such file"
