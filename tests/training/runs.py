"""Trainings in processes of their own, and the weights that they leave behind."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    """The process, on one thread; what it prints and its errors come as one output."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the networks in the checkpoint of a run."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    return {
        f"{part}.{name}": value
        for part in ("generator", "discriminator", "average")
        for name, value in state[part].items()
    }
