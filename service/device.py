"""Chooses what computes the images, and says why. The devices themselves are in `cpu` and `cuda`."""

import logging
from typing import Protocol, Self

from models.shelf import Generator
from service.errors import EngineError
from service.rows import Feeds, Images
from service.settings import DeviceName

# BentoML prints what this logger says, other loggers' warnings alone.
logger = logging.getLogger("bentoml.service")


class Session(Protocol):
    """A generator on a device; with one worker it belongs to the thread that runs it first."""

    @property
    def buckets(self) -> tuple[int, ...] | None:
        """The batch sizes that it computes, ascending; None where it computes any."""

    def run(self, feeds: Feeds) -> Images:
        """The images of the contract's inputs: uint8 [n, height, width, channels], not to be overwritten."""

    def whole(self) -> Self | None:
        """The same on the whole device, for when nothing else is computed; None where that is this one."""


class Device(Protocol):
    """Its str() follows "on".

    workers: how many threads run its sessions at once.
    is_cpu: whether any thread may run them as well, at the same time, and computes nothing else meanwhile.
    remedy: what to do about a generator that it does not compute.
    """

    name: str
    workers: int
    is_cpu: bool
    remedy: str

    def open(self, generator: Generator, max_batch: int) -> Session:
        """Raises whatever ONNX Runtime raises; its errors share no class."""


def choose(wanted: DeviceName, threads: int) -> Device:
    """The device that was asked for, or else EngineError with what is missing and what to do about it.

    `auto` takes CUDA where it works, the CPU where not, and never TensorRT, which takes minutes to start.
    """
    # ONNX Runtime takes long to load: not before it is needed.
    from service.cpu import Cpu  # noqa: PLC0415
    from service.cuda import Cuda, TensorRT, obstacle  # noqa: PLC0415

    if wanted == "cpu":
        return Cpu(threads)
    gpu = TensorRT() if wanted == "tensorrt" else Cuda()
    found = obstacle(gpu)
    if found is None:
        logger.info("Computing on %s", gpu)
        return gpu
    if wanted != "auto":
        raise EngineError(
            f"GANSERVE_DEVICE is {wanted!r}, but {found.reason}; {found.remedy}, or set GANSERVE_DEVICE=cpu"
        )
    cpu = Cpu(threads)
    logger.info("Computing on %s: GANSERVE_DEVICE is 'auto', and %s", cpu, found.reason)
    return cpu
