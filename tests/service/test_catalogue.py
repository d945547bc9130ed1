"""Generators found by name and by version."""

from pathlib import Path

import pytest

from models.shelf import Shelf
from service.catalogue import Catalogue
from service.errors import Refusal
from tests.generators import tiny_generator


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    for _ in range(11):
        shelf.place(tiny_generator("tiny"))
    return shelf


def test_the_only_name_needs_not_be_said(shelf: Shelf) -> None:
    catalogue = Catalogue(shelf.list())
    assert catalogue.find(None).reference == "tiny:11"
    assert catalogue.find("tiny").reference == "tiny:11"
    assert catalogue.find("tiny:9").reference == "tiny:9"


def test_one_of_several_has_to_be_named(shelf: Shelf) -> None:
    shelf.place(tiny_generator("other"))
    catalogue = Catalogue(shelf.list())
    with pytest.raises(Refusal, match="name one: other:1, tiny:11") as refusal:
        catalogue.find(None)
    assert (refusal.value.status, refusal.value.field) == (422, "model")
    assert catalogue.find("other").reference == "other:1"


def test_what_came_after_the_start_is_not_there(shelf: Shelf) -> None:
    catalogue = Catalogue(shelf.list())
    shelf.place(tiny_generator("later"))
    with pytest.raises(Refusal, match='there is no generator "later"') as refusal:
        catalogue.find("later")
    assert refusal.value.status == 404
