"""What a start needs before anything is served; what is wrong with it ends the start in one line."""

import sys
from pathlib import Path
from typing import Any

from pydantic import AnyHttpUrl, ValidationError

from models.mistake import Mistake
from models.shelf import Shelf
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
    except (Mistake, OSError) as error:
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
