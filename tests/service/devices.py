"""Devices for tests: which are here, and the CPU in buffers as a GPU has them, or breaking when told."""

import time
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import pytest

from models.shelf import Generator
from service.bound import BoundSession
from service.buckets import buckets
from service.cpu import Cpu
from service.cuda import CUDA, Cuda, TensorRT, obstacle
from service.device import Session
from service.rows import Feeds, Images

without_cuda = pytest.mark.skipif(
    CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
without_gpu = pytest.mark.skipif(obstacle(Cuda()) is None, reason="CUDA works here")
without_tensorrt = pytest.mark.skipif(obstacle(TensorRT()) is None, reason="TensorRT works here")
with_gpu = pytest.mark.skipif(obstacle(Cuda()) is not None, reason="needs a GPU, and onnxruntime-gpu")


class BoundCpu:
    """The CPU in prepared buffers, one set a bucket."""

    name = "cpu"
    workers = 1
    is_cpu = False
    remedy = "nothing"

    def __str__(self) -> str:
        return "the CPU in buffers"

    def open(self, generator: Generator, max_batch: int) -> BoundSession:
        session = onnxruntime.InferenceSession(generator.path, providers=["CPUExecutionProvider"])
        return BoundSession(session, generator.contract, buckets(max_batch), "cpu")


@dataclass
class Breakable:
    """The CPU, until it is `broken`; `failures` runs fail before. A run busies its thread for `seconds`."""

    broken: bool = False
    failures: int = 0
    seconds: float = 0
    name: str = "cpu"
    workers: int = 1
    is_cpu: bool = True
    remedy: str = "nothing"
    opened: list[Session] = field(default_factory=list)
    buckets: None = None

    def __str__(self) -> str:
        return "the breakable CPU"

    def open(self, generator: Generator, max_batch: int) -> "Breakable":
        self.opened.append(Cpu(1).open(generator, max_batch))
        return self

    def run(self, feeds: Feeds) -> Images:
        if self.broken or self.failures:
            self.failures = max(0, self.failures - 1)
            raise RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=here")
        busy_until = time.thread_time() + self.seconds
        while time.thread_time() < busy_until:
            pass
        return self.opened[-1].run(feeds)

    def whole(self) -> None:
        """This is the whole device."""


@dataclass
class Wide:
    """The CPU with another session for who is alone, whose `runs` are counted and grey levels `lifted`."""

    lifted: int = 0
    runs: int = 0
    name: str = "cpu"
    workers: int = 2
    is_cpu: bool = True
    remedy: str = "nothing"
    buckets: None = None

    def open(self, generator: Generator, max_batch: int) -> Session:
        self._session = Cpu(2).open(generator, max_batch)
        self._session.whole = lambda: self  # type: ignore[assignment, method-assign, return-value]
        return self._session

    def run(self, feeds: Feeds) -> Images:
        self.runs += 1
        return self._session.run(feeds) + np.uint8(self.lifted)

    def whole(self) -> None:
        """This is the whole device."""
