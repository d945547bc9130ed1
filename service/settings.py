"""What an operator may set, in the environment as GANSERVE_<NAME>; docs/operating.md says what each means."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import models
from service.cores import usable_cores
from service.limits import MOST_IMAGES
from service.processes import processes

DeviceName = Literal["auto", "cpu", "cuda", "tensorrt"]


def _processes(validated: dict[str, Any]) -> int:
    return processes(validated.get("device", "auto"), validated.get("threads", 1))


class Settings(BaseSettings):
    """Raises pydantic's ValidationError for a value that makes no sense.

    Kubernetes puts GANSERVE_PORT and GANSERVE_SERVICE_* into the environment of pods beside a service called
    ganserve: variables that are no setting are passed over, and no setting may have such a name.
    """

    model_config = SettingsConfigDict(env_prefix="GANSERVE_", env_ignore_empty=True, frozen=True)

    models: Path = Path(models.__file__).parent
    device: DeviceName = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=usable_cores)
    processes: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=_processes)
    max_batch: int = Field(64, ge=1, le=4096)
    queue_rows: int = Field(1024, ge=MOST_IMAGES)
    body_limit: int = Field(8 * 2**20, ge=1024)
    timeout: float = Field(30, gt=0, le=3600)
    drain: float = Field(1, ge=0, le=3600)
    log_sample: float = Field(1, ge=0, le=1)
    traces: AnyHttpUrl | None = None
