"""A shelf, and a generator on it."""

from pathlib import Path

import pytest

from models.shelf import Generator, Shelf
from tests.generators import tiny_generator


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


@pytest.fixture
def placed(shelf: Shelf) -> Generator:
    return shelf.place(tiny_generator())
