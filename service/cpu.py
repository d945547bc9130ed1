"""The CPU, through ONNX Runtime."""

from pathlib import Path

import onnxruntime

from models.shelf import Generator
from service.rows import Feeds, Images


class Cpu:
    """Computes `threads` batches at once, a thread each.

    Threads that share a batch wait for each other at every node: that took 4 to 10 % more CPU time an image,
    and for one image of the shipped generator 40 % more. A batch that is alone may take them all the same.
    """

    name = "cpu"
    is_cpu = True
    remedy = "export it with operators that ONNX Runtime computes"

    def __init__(self, threads: int) -> None:
        self.workers = threads

    def __str__(self) -> str:
        return f"the CPU with {self.workers} thread{'s' * (self.workers > 1)}"

    def open(self, generator: Generator, max_batch: int) -> "CpuSession":  # noqa: ARG002 - takes any
        return CpuSession(generator.path, threads=1, most_threads=self.workers)


class CpuSession:
    # A row more costs what a row costs, so that padding would only waste.
    buckets: None = None

    def __init__(self, path: Path, *, threads: int, most_threads: int) -> None:
        self._path = path
        self._threads = threads
        self._most_threads = most_threads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # The thread that calls is one of them. By default ONNX Runtime starts one a core of the host.
        options.intra_op_num_threads = threads
        # Threads that wait for work spin: up to 1.9 times the CPU time an image, unless they stop when a run
        # ends. Then a row of 2 ms took the same CPU time, and a sixth less time.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads > 1)))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # A generator is one chain of nodes: there is nothing to run side by side.
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.inter_op_num_threads = 1
        # Without the arena each run asks the kernel for its memory again: twice the CPU time at 64 rows.
        options.enable_cpu_mem_arena = True
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, feeds: Feeds) -> Images:
        # Fixed buffers (IO binding) save nothing here, and would be overwritten under the reader's hands.
        images: Images = self._session.run(["image"], feeds)[0]
        return images

    def whole(self) -> "CpuSession | None":
        if self._threads == self._most_threads:
            return None
        return CpuSession(self._path, threads=self._most_threads, most_threads=self._most_threads)
