"""The shelf: what is placed is found again."""

import hashlib
import resource
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import (
    ContractError,
    check,
)
from models.shelf import (
    Generator,
    NoShelf,
    NotOnShelf,
    Shelf,
    digest,
)
from tests.generators import tiny_generator


def test_what_is_placed_is_found(shelf: Shelf) -> None:
    model = tiny_generator("fashion")
    generator = shelf.place(model)
    assert generator.reference == "fashion:1"
    assert generator.path == shelf.root / "fashion" / "1" / "model.onnx"
    assert generator.digest == hashlib.sha256(generator.path.read_bytes()).hexdigest()
    assert generator.contract == check(model)
    assert onnx.load(generator.path) == model
    assert shelf.find("fashion") == shelf.find("fashion:1") == generator
    assert shelf.list() == [generator]


def test_the_digest_file_is_what_sha256sum_reads(placed: Generator) -> None:
    command = ["sha256sum", "--check", "--strict", "model.onnx.sha256"]
    outcome = subprocess.run(command, cwd=placed.path.parent, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout) == (0, "model.onnx: OK\n")


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_placing_again_makes_the_next_version_and_leaves_the_others(shelf: Shelf) -> None:
    first = shelf.place(tiny_generator(latent_dim=2))
    second = shelf.place(tiny_generator(latent_dim=3))
    assert (first.version, second.version) == (1, 2)
    assert shelf.find("tiny") == second
    assert shelf.find("tiny:1") == first
    assert sorted(path.name for path in (shelf.root / "tiny").iterdir()) == ["1", "2"]


def test_a_gap_in_the_versions_is_not_filled(shelf: Shelf) -> None:
    for _ in range(3):
        shelf.place(tiny_generator())
    (shelf.root / "tiny" / "2").rename(shelf.root / "tiny" / "old")
    assert shelf.place(tiny_generator()).version == 4


def test_placing_at_once_overwrites_nothing(shelf: Shelf) -> None:
    models = [tiny_generator(latent_dim=dim, height=1, width=1) for dim in range(1, 17)]
    with ThreadPoolExecutor(len(models)) as pool:
        placed = list(pool.map(shelf.place, models))
    assert sorted(generator.version for generator in placed) == list(range(1, 17))
    assert {generator.contract.latent.dim for generator in shelf.list()} == set(range(1, 17))


def test_a_model_that_breaks_its_contract_is_not_placed(shelf: Shelf) -> None:
    model = tiny_generator()
    model.graph.output[0].name = "picture"
    with pytest.raises(ContractError):
        shelf.place(model)
    assert not shelf.root.exists()


def test_a_write_that_fails_leaves_nothing_behind(shelf: Shelf) -> None:
    shelf.place(tiny_generator())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            shelf.place(tiny_generator())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (shelf.root / "tiny").iterdir()] == ["1"]


@given(st.sets(st.integers(1, 10**6), min_size=1, max_size=8))
def test_versions_are_ordered_as_numbers(
    tmp_path_factory: pytest.TempPathFactory, versions: set[int]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    original = shelf.place(tiny_generator(height=1, width=1, latent_dim=1)).path.parent
    original = original.rename(original.with_name("original"))
    for version in versions:
        original.with_name(str(version)).symlink_to(original)
    assert [generator.version for generator in shelf.list()] == sorted(versions, reverse=True)
    assert shelf.find("tiny").version == max(versions)


def test_generators_are_listed_by_name_the_newest_version_first(shelf: Shelf) -> None:
    for name in ("shoes", "digits", "shoes"):
        shelf.place(tiny_generator(name))
    assert [generator.reference for generator in shelf.list()] == ["digits:1", "shoes:2", "shoes:1"]


def test_what_is_no_version_is_left_alone(shelf: Shelf, placed: Generator) -> None:
    (shelf.root / "contract.py").write_text("")
    (shelf.root / "__pycache__").mkdir()
    (shelf.root / ".hidden" / "1").mkdir(parents=True)
    (shelf.root / "lost+found" / "1").mkdir(parents=True)
    (shelf.root / "tiny" / "README.md").write_text("a model card")
    (shelf.root / "tiny" / "01").mkdir()
    (shelf.root / "tiny" / ".half-written").mkdir()
    assert shelf.list() == [placed]


def test_an_empty_shelf_is_empty(tmp_path: Path) -> None:
    assert Shelf(tmp_path).list() == []
    with pytest.raises(NotOnShelf, match="there is nothing"):
        Shelf(tmp_path).find("tiny")


@pytest.mark.parametrize(
    "reference", ["other", "tiny:2", "tiny:01", "tiny:", "tiny:1:1", "", "../tiny", "tiny/1"]
)
def test_what_is_not_there_is_named_with_what_is(shelf: Shelf, placed: Generator, reference: str) -> None:
    with pytest.raises(NotOnShelf) as refusal:
        shelf.find(reference)
    assert repr(reference) in str(refusal.value)
    assert placed.reference in str(refusal.value)


def test_a_shelf_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoShelf, match="nowhere is not a folder"):
        Shelf(tmp_path / "nowhere").list()
