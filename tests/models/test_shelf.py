"""The shelf: what is placed is found again, and what is damaged is refused with its path."""

import hashlib
import resource
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import (
    ContractError,
    InvalidOnnx,
    MetadataMissing,
    MetadataUnreadable,
    SchemaTooNew,
    TensorMismatch,
    check,
)
from models.shelf import (
    DigestMismatch,
    Generator,
    Incomplete,
    Misplaced,
    NoShelf,
    NotOnShelf,
    Shelf,
    ShelfError,
    digest,
)
from tests.generators import tiny_generator


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


@pytest.fixture
def placed(shelf: Shelf) -> Generator:
    return shelf.place(tiny_generator())


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


def test_a_version_that_was_taken_away_is_not_given_to_another(shelf: Shelf) -> None:
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


def refused(shelf: Shelf, error: type[ValueError]) -> str:
    """The one line in which the shelf refuses its generator, however it is asked."""
    messages = set()
    for ask in (shelf.list, lambda: shelf.find("tiny"), lambda: shelf.find("tiny:1")):
        with pytest.raises((ShelfError, ContractError)) as refusal:
            ask()
        assert type(refusal.value) is error
        messages.add(str(refusal.value))
    [message] = messages
    assert "\n" not in message
    return message


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncate, flip, lambda content: content + b"\0", lambda _: b""])
def test_a_file_whose_digest_differs_is_refused(
    shelf: Shelf, placed: Generator, damage: Callable[[bytes], bytes]
) -> None:
    placed.path.write_bytes(damage(placed.path.read_bytes()))
    message = refused(shelf, DigestMismatch)
    assert str(placed.path) in message
    assert placed.digest in message
    assert hashlib.sha256(placed.path.read_bytes()).hexdigest() in message


@given(st.data())
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    path = shelf.place(tiny_generator(height=1, width=1, latent_dim=1)).path
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(DigestMismatch):
        shelf.list()


@pytest.mark.parametrize("content", ["", "\n", "0123  model.onnx\n", "\ufeffnonsense"])
def test_a_damaged_digest_is_refused(shelf: Shelf, placed: Generator, content: str) -> None:
    placed.path.with_name("model.onnx.sha256").write_text(content)
    assert placed.digest in refused(shelf, DigestMismatch)


def overwrite(generator: Generator, content: bytes) -> None:
    """Replace the file and record its new digest, as an export that went wrong would."""
    generator.path.write_bytes(content)
    recorded = hashlib.sha256(content).hexdigest()
    generator.path.with_name("model.onnx.sha256").write_text(f"{recorded}  model.onnx\n")


@pytest.mark.parametrize("content", [b"not a model", b"", b"\x08"])
def test_a_file_that_is_no_model_is_refused(shelf: Shelf, placed: Generator, content: bytes) -> None:
    overwrite(placed, content)
    assert str(placed.path) in refused(shelf, InvalidOnnx)


def test_a_truncated_file_is_refused_even_with_a_digest_of_its_own(shelf: Shelf, placed: Generator) -> None:
    overwrite(placed, truncate(placed.path.read_bytes()))
    assert f"{placed.path}: not an ONNX model, or a truncated one" in refused(shelf, InvalidOnnx)


@given(st.data())
def test_damaged_bytes_are_refused_or_keep_the_contract(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    placed = shelf.place(tiny_generator(height=2, width=2, latent_dim=2))
    content = bytearray(placed.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    overwrite(placed, bytes(content))
    reason = None
    try:
        [generator] = shelf.list()
    except (ContractError, ShelfError) as error:
        reason = str(error)
    if reason is None:
        assert generator.contract == check(onnx.load(placed.path))
    else:
        assert reason.startswith(f"{placed.path}: ")
        assert "\n" not in reason


def no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def unparsable_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "{"


def newer_schema(model: onnx.ModelProto) -> None:
    entry = model.metadata_props[0]
    entry.value = entry.value.replace('"schema":1', '"schema":2')


def float_output(model: onnx.ModelProto) -> None:
    [cast] = [node for node in model.graph.node if node.op_type == "Cast"]
    cast.attribute[0].i = onnx.TensorProto.FLOAT
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (no_metadata, MetadataMissing, 'no metadata under the key "ganserve"'),
        (unparsable_metadata, MetadataUnreadable, "not JSON"),
        (newer_schema, SchemaTooNew, "schema 2"),
        (float_output, TensorMismatch, "expects uint8"),
    ],
)
def test_a_file_that_breaks_its_contract_is_refused_with_its_path(
    shelf: Shelf,
    placed: Generator,
    damage: Callable[[onnx.ModelProto], None],
    error: type[ContractError],
    reason: str,
) -> None:
    model = tiny_generator()
    damage(model)
    overwrite(placed, model.SerializeToString())
    message = refused(shelf, error)
    assert str(placed.path) in message
    assert reason in message


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.sha256"])
def test_a_version_with_a_file_missing_is_refused(shelf: Shelf, placed: Generator, name: str) -> None:
    placed.path.with_name(name).unlink()
    assert f"{placed.path.parent}: {name} is missing" in refused(shelf, Incomplete)


def test_a_file_in_the_folder_of_another_is_refused(shelf: Shelf) -> None:
    path = shelf.place(tiny_generator("other")).path
    path.parents[1].rename(shelf.root / "tiny")
    assert "calls itself 'other'" in refused(shelf, Misplaced)


def test_a_damaged_neighbour_does_not_hide_the_rest(shelf: Shelf, placed: Generator) -> None:
    healthy = shelf.place(tiny_generator("healthy"))
    placed.path.write_bytes(b"")
    assert shelf.find("healthy") == healthy
    with pytest.raises(DigestMismatch):
        shelf.list()
