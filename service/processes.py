"""How many processes serve: one computes Python in a single thread at a time, and leaves cores idle."""

import contextlib
import ctypes
from importlib.metadata import PackageNotFoundError, distribution

MOST = 8


def processes(device: str, threads: int) -> int:
    """One a thread of the CPU, up to MOST; one for a GPU, which wants all rows in one queue."""
    on_gpu = _gpu_in_sight() if device == "auto" else device != "cpu"
    return 1 if on_gpu else min(MOST, threads)


def _gpu_in_sight() -> bool:
    """Whether a GPU may be found, without loading ONNX Runtime, which would delay the start."""
    with contextlib.suppress(PackageNotFoundError, OSError):
        distribution("onnxruntime-gpu")
        ctypes.CDLL("libcuda.so.1")
        return True
    return False
