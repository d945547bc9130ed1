"""What an operator may set, in the environment as GANSERVE_<NAME>."""

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

    models: Path = Field(Path(models.__file__).parent, description="The shelf: a folder of generators.")
    device: DeviceName = Field("auto", description="What computes: CUDA where it works, or as named.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default_factory=usable_cores,
        description="The threads of a process that compute a batch, and those that encode.",
    )
    processes: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=_processes,
        description="The processes that share the port, each with every generator and a queue of its own.",
    )
    max_batch: int = Field(64, ge=1, le=4096, description="The most rows that are computed at once.")
    queue_rows: int = Field(
        1024,
        ge=MOST_IMAGES,
        description="The most rows that a process has accepted and not answered; more are refused with 503.",
    )
    body_limit: int = Field(8 * 2**20, ge=1024, description="The largest body of a request, in bytes.")
    timeout: float = Field(
        30,
        gt=0,
        le=3600,
        description="The seconds from the head of a request until its images are computed.",
    )
    drain: float = Field(
        1,
        ge=0,
        le=3600,
        description="The seconds after SIGTERM in which everybody is still answered, but readiness is off.",
    )
    log_sample: float = Field(
        1, ge=0, le=1, description="The share of requests with a line in the log; failures always have one."
    )
    traces: AnyHttpUrl | None = Field(
        None, description="Where OpenTelemetry's traces go (OTLP), such as http://collector:4318/v1/traces."
    )
