"""The CPU, through ONNX Runtime."""

import onnxruntime

from models.shelf import Generator
from service.device import Feeds
from service.rows import Images


class Cpu:
    """Computes `threads` batches at once, a thread each.

    Threads that share a batch wait for each other at every node: that took 4 to 10 % more CPU time an image,
    and for one image of the shipped generator 40 % more.
    """

    name = "cpu"
    remedy = "export it with operators that ONNX Runtime computes"

    def __init__(self, threads: int) -> None:
        self.workers = threads

    def __str__(self) -> str:
        return f"the CPU with {self.workers} thread{'s' * (self.workers > 1)}"

    def open(self, generator: Generator, max_batch: int) -> "CpuSession":  # noqa: ARG002 - takes any
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Only the thread that calls. By default ONNX Runtime starts one a core of the host, and those spin
        # while they wait: up to 1.9 times the CPU time an image.
        options.intra_op_num_threads = 1
        # A generator is one chain of nodes: there is nothing to run side by side.
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.inter_op_num_threads = 1
        # Without the arena each run asks the kernel for its memory again: twice the CPU time at 64 rows.
        options.enable_cpu_mem_arena = True
        return CpuSession(
            onnxruntime.InferenceSession(generator.path, options, providers=["CPUExecutionProvider"])
        )


class CpuSession:
    # A row more costs what a row costs, so that padding would only waste.
    buckets: None = None

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, feeds: Feeds) -> Images:
        # Fixed buffers (IO binding) save nothing here, and would be overwritten under the reader's hands.
        images: Images = self._session.run(["image"], feeds)[0]
        return images
