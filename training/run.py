"""The folder of a training run, and what was decided when it began."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

RUN_FILE = "run.json"
CHECKPOINT_FILE = "checkpoint.pt"


class RunError(ValueError):
    """A run folder that cannot be started in, resumed or read."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameters(_Record):
    """All that decides the weights, besides the data.

    batch, ema, warmup: in images. ema is the half-life of the generator's moving average; over the first
    `warmup` images the learning rate rises from 0. gamma weighs R1 and R2.
    """

    preset: Literal["tiny", "small", "base"] = "tiny"
    resolution: int = 32
    batch: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)
    gamma: float = Field(default=1.0, ge=0)
    ema: int = Field(default=20_000, gt=0)
    warmup: int = Field(default=6_400, ge=0)
    seed: int = Field(default=0, ge=0)


class DataRecord(_Record):
    """Which images a run learns from; the fingerprint is that of training.data."""

    source: str
    name: str
    fingerprint: str
    channels: Literal[1, 3]
    classes: tuple[str, ...]


class RunRecord(_Record):
    """What run.json holds."""

    hyperparameters: Hyperparameters
    data: DataRecord
    source_commit: str


def begin(folder: Path, record: RunRecord) -> None:
    """Make a run folder. Raises RunError when one is there."""
    if (folder / RUN_FILE).exists():
        raise RunError(f"{folder} holds a run already; continue it with --resume, or name another --run")
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / (RUN_FILE + ".part")
    aside.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    aside.replace(folder / RUN_FILE)


def read(folder: Path) -> RunRecord:
    """Raises RunError when the folder holds no readable run."""
    path = folder / RUN_FILE
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no run: there is no {RUN_FILE} in it") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def source_commit() -> str:
    """The commit of this code, with "-dirty" behind it when the tree differs; "unknown" outside of git."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def hardware(device: torch.device, threads: int) -> str:
    """What the run computes on, for the model card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads} of {os.cpu_count()} CPU cores ({_processor()})"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
