"""What a run trains on, in words."""

import os
import platform
from pathlib import Path

import torch

from training import processes


def hardware(device: torch.device) -> str:
    """The name of the GPU, or the threads, cores and name of the CPU; of several processes, how many."""
    each = _of_this_process(device)
    return each if processes.count() == 1 else f"{processes.count()} processes, each on {each}"


def _of_this_process(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({model})"
