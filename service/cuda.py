"""An NVIDIA GPU, through ONNX Runtime's CUDA or TensorRT provider."""

import contextlib
import ctypes
import importlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from models.contract import MINIMUM_OPSET
from models.shelf import Generator
from service.bound import BoundSession
from service.buckets import buckets
from service.errors import EngineError, in_short

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

Providers = Sequence[tuple[str, dict[str, str]]]

# What to do about a shared library that is missing; what no pattern before it matches comes with CUDA.
REMEDIES = (
    (r"libcuda\.so", "install the NVIDIA driver, and give the container the GPU (--gpus all)"),
    (r"libnv(infer|onnxparser)", "install TensorRT 10 (pip install 'tensorrt-cu13<11')"),
    (r"", "install 'onnxruntime-gpu[cuda,cudnn]'"),
)

ON_THE_CPU = "GANSERVE_DEVICE=cpu computes it on the CPU"

CUDA_SETTINGS = {
    "device_id": "0",
    # Kernels are chosen by rule. Chosen by timing (EXHAUSTIVE) they would be others after a restart, and so
    # might be the bytes of an image.
    "cudnn_conv_algo_search": "HEURISTIC",
    # TensorFloat-32 moves 3 % of two generators' values by a grey level, float16 5 to 9 %; the parity gate of
    # the export lets 0.1 % pass.
    "use_tf32": "0",
    # Several generators share the memory: an arena takes what it needs instead of twice as much each time.
    "arena_extend_strategy": "kSameAsRequested",
}


class Cuda:
    """A captured CUDA graph a bucket: one launch a batch instead of one a node."""

    name = "cuda"
    workers = 1
    is_cpu = False
    providers: tuple[str, ...] = (CUDA,)
    remedy = ON_THE_CPU

    def __str__(self) -> str:
        return "an NVIDIA GPU through CUDA"

    def open(self, generator: Generator, max_batch: int) -> BoundSession:
        # With captured graphs ONNX Runtime refuses a generator with nodes that CUDA does not compute.
        session = _session(generator.path, _options(), [(CUDA, CUDA_SETTINGS | {"enable_cuda_graph": "1"})])
        return BoundSession(session, generator.contract, buckets(max_batch), "cuda")


class TensorRT:
    """One engine for all batch sizes, built on the first start (minutes), then read from the cache.

    TensorRT chooses kernels by timing them: an engine gives the same bytes always, another build of it may
    give a pixel another grey level.
    """

    name = "tensorrt"
    workers = 1
    is_cpu = False
    providers: tuple[str, ...] = (TENSORRT, CUDA)
    remedy = ON_THE_CPU

    def __str__(self) -> str:
        return "an NVIDIA GPU through TensorRT"

    def open(self, generator: Generator, max_batch: int) -> BoundSession:
        options = _options()
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        session = _session(
            generator.path,
            options,
            [(TENSORRT, tensorrt_settings(generator, max_batch)), (CUDA, CUDA_SETTINGS)],
        )
        return BoundSession(session, generator.contract, buckets(max_batch), "cuda")


def tensorrt_settings(generator: Generator, max_batch: int) -> dict[str, str]:
    """What the TensorRT provider is told; makes the folder of the generator's engine."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ganserve", "tensorrt")
    # The provider names an engine after the graph without its weights: a folder for each file.
    engine = root / onnxruntime.__version__ / generator.digest
    engine.mkdir(parents=True, exist_ok=True)

    def shapes(rows: int) -> str:
        inputs = generator.contract.inputs.items()
        return ",".join(f"{name}:{'x'.join(map(str, (rows, *row)))}" for name, row in inputs)

    return {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engine),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(root),
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(max_batch),
        "trt_profile_max_shapes": shapes(max_batch),
    }


@dataclass(frozen=True)
class Obstacle:
    """Why a device cannot be had, and what to do about it."""

    reason: str
    remedy: str


def obstacle(device: Cuda | TensorRT) -> Obstacle | None:
    """What stands in the way of the device; None where a convolution runs on it."""
    for provider in device.providers:
        if provider not in onnxruntime.get_available_providers():
            name = provider.removesuffix("ExecutionProvider")
            return Obstacle(
                f"this ONNX Runtime is built without {name}",
                "install 'onnxruntime-gpu[cuda,cudnn]' in the place of onnxruntime",
            )
    _load_libraries(device.providers)
    onnxruntime.set_default_logger_severity(4)  # what it would print is told below
    try:
        session = _session(_convolution(), _options(), [(name, {}) for name in device.providers])
        session.run(None, {"x": np.ones((1, 1, 2, 2), np.float32)})
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no other class
        missing = _missing_library(device.providers)
        if missing is None:
            return Obstacle(in_short(error), "see what nvidia-smi says of driver and GPU")
        remedy = next(remedy for library, remedy in REMEDIES if re.match(library, missing))
        return Obstacle(f"a library cannot be loaded ({missing})", remedy)
    finally:
        onnxruntime.set_default_logger_severity(2)
    return None


def _load_libraries(providers: Sequence[str]) -> None:
    """Load CUDA, cuDNN and TensorRT from where pip puts them."""
    # For cuDNN and TensorRT, which do not listen to "use_tf32". They read it when they are loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(ImportError):
        onnxruntime.preload_dlls()
        if TENSORRT in providers:
            importlib.import_module("tensorrt_libs")


def _missing_library(providers: Sequence[str]) -> str | None:
    """What the dynamic loader says of a provider that ONNX Runtime could not load."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    for name in providers:
        # Only after ONNX Runtime tried: it must be the first to load a provider.
        short = name.removesuffix("ExecutionProvider").lower()
        try:
            ctypes.CDLL(str(folder / f"libonnxruntime_providers_{short}.so"))
        except OSError as error:
            return str(error)
    return None


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.use_deterministic_compute = True
    return options


def _session(
    model: Path | bytes, options: onnxruntime.SessionOptions, providers: Providers
) -> onnxruntime.InferenceSession:
    """A session with these providers and no fall-back to others, neither now nor when a run fails."""
    arguments: dict[str, Any] = {"providers": list(providers), "enable_fallback": 0}
    session = onnxruntime.InferenceSession(model, options, **arguments)
    if absent := [name for name, _ in providers if name not in session.get_providers()]:
        raise EngineError(f"ONNX Runtime left out {absent[0]}")
    return session


def _convolution() -> bytes:
    kernel = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [2.0])
    square = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "probe", square[:1], square[1:], [kernel]
    )
    opset = helper.make_opsetid("", MINIMUM_OPSET)
    model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    return model
