"""The CPU, through ONNX Runtime."""

import onnxruntime

from models.shelf import Generator
from service.device import Feeds
from service.rows import Images


class Cpu:
    """Computes with `threads` threads."""

    name = "cpu"
    workers = 1
    remedy = "export it with operators that ONNX Runtime computes"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __str__(self) -> str:
        return f"the CPU with {self._threads} thread{'s' * (self._threads > 1)}"

    def open(self, generator: Generator, max_batch: int) -> "CpuSession":  # noqa: ARG002 - takes any
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Explicit, because by default ONNX Runtime starts a thread for each of the host's cores.
        options.intra_op_num_threads = self._threads
        # A generator is one chain of nodes: there is nothing to run side by side.
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from encoding and from HTTP: up to 1.9 times the
        # CPU time per image.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
