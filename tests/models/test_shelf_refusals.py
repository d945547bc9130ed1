"""What the shelf refuses: damaged files, each with its path and the reason in one line."""

import hashlib
from collections.abc import Callable

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
    Shelf,
    ShelfError,
)
from tests.generators import tiny_generator


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
