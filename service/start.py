"""What a start needs before anything is served; what is wrong with it ends the start in one line."""

import atexit
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import AnyHttpUrl, ValidationError

from models.contract import ContractError
from models.shelf import Shelf, ShelfError
from service.access import PROBES
from service.catalogue import Catalogue
from service.settings import Settings


def read_settings() -> Settings:
    """The settings in the environment. Exits when one makes no sense."""
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"GANSERVE_{problem['loc'][0]}".upper()
        sys.exit(f"ganserve: {name} is {problem['input']!r}: {problem['msg']}")


def catalogue_of(shelf: Path) -> Catalogue:
    """The generators on the shelf, checked. Exits when there is none, or when one is refused."""
    try:
        generators = Shelf(shelf).list()
    except (ShelfError, ContractError, OSError) as error:
        sys.exit(f"ganserve: {error}")
    if not generators:
        sys.exit(
            f"ganserve: no generator in {shelf}; expected <name>/<version>/model.onnx, "
            "train and export one or set GANSERVE_MODELS"
        )
    return Catalogue(generators)


def tracing(traces: AnyHttpUrl | None) -> dict[str, Any]:
    """BentoML's configuration that sends traces there, or makes none.

    Spans that nobody gets would take twice as long as the rest of a request's way, hence the exclusion.
    """
    if traces is None:
        return {"excluded_urls": ["."]}
    return {
        "exporter_type": "otlp",
        "sample_rate": 1.0,
        "excluded_urls": [f"{path}$" for path in PROBES],
        "otlp": {"protocol": "http", "endpoint": str(traces)},
    }


def end_when_a_worker_fails() -> None:
    """In BentoML's supervisor: let `fail` in a worker end everything, with exit code 1."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the others fail for the same reason
        fail()

    signal.signal(signal.SIGUSR1, end)


def fail(supervised: bool = False) -> None:
    """Stop as on SIGTERM, but with exit code 1; a supervised worker asks its supervisor to.

    BentoML's supervisor starts a worker that ends again without end, and on SIGTERM its exit code is 0.
    """
    if supervised:
        os.kill(os.getppid(), signal.SIGUSR1)
        return
    atexit.register(_exit_with_failure)
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_with_failure() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
