import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training import checkpoint
from training.checkpoint import CheckpointError


def layer(number: int) -> nn.Linear:
    """A layer that holds one number throughout."""
    made = nn.Linear(30, 20)
    for weight in made.parameters():
        nn.init.constant_(weight, number)
    return made


def number_in(path: Path) -> tuple[float, str | None]:
    """The number in the layer that comes back from a checkpoint, and what was said."""
    restored = layer(-1)
    news = checkpoint.load(path, {"layer": restored})
    (number,) = set(torch.cat([restored.weight.flatten(), restored.bias]).tolist())
    return number, news


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where 1 was saved, then 2."""
    path = tmp_path_factory.mktemp("run") / "c.pt"
    for number in (1, 2):
        checkpoint.save(path, {"layer": layer(number)})
    return path


@pytest.fixture
def copy(two: Path, tmp_path: Path) -> Path:
    for file in two.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / two.name


def test_state_comes_back_and_the_one_before_it_is_kept(two: Path) -> None:
    assert number_in(two) == (2, None)
    assert number_in(two.with_name("c.previous.pt")) == (1, None)
    assert sorted(path.name for path in two.parent.iterdir()) == ["c.previous.pt", "c.pt"]


def test_the_file_is_one_of_torch_that_ends_in_its_digest(two: Path) -> None:
    content = two.read_bytes()
    assert zipfile.ZipFile(two).comment == hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert torch.equal(torch.load(two, weights_only=True)["layer"]["bias"], torch.full((20,), 2.0))


@given(st.data())
def test_any_flipped_bit_and_any_cut_leads_back_to_the_one_before(two: Path, data: st.DataObject) -> None:
    whole = two.read_bytes()
    size = len(whole)
    bit = data.draw(st.integers(0, 8 * size - 1), "bit")
    length = data.draw(st.integers(0, size - 1), "length")
    try:
        for damage in (lambda: flip(two, bit), lambda: two.write_bytes(whole[:length])):
            damage()
            number, news = number_in(two)
            assert number == 1
            assert news == (
                f"the checkpoint {two} is damaged (it does not match its digest); went back to c.previous.pt"
            )
            two.write_bytes(whole)
    finally:
        two.write_bytes(whole)


def test_a_checkpoint_that_is_gone_leads_back_to_the_one_before(copy: Path) -> None:
    copy.unlink()
    assert checkpoint.exists(copy)
    assert number_in(copy) == (1, f"the checkpoint {copy} is gone; went back to c.previous.pt")


def test_a_damaged_one_never_takes_the_place_of_a_good_one(copy: Path) -> None:
    flip(copy, 8_000)
    checkpoint.save(copy, {"layer": layer(3)})
    assert number_in(copy) == (3, None)
    flip(copy, 8_000)
    assert number_in(copy)[0] == 1


def test_two_damaged_ones_are_refused(copy: Path) -> None:
    for path in (copy, copy.with_name("c.previous.pt")):
        flip(path, 8_000)
    with pytest.raises(CheckpointError, match=r"c\.pt is damaged .* and c\.previous\.pt is damaged"):
        number_in(copy)


def test_a_damaged_first_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"layer": layer(1)})
    flip(path, 8_000)
    with pytest.raises(CheckpointError, match=r"c\.pt is damaged .* and c\.previous\.pt is gone"):
        number_in(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_keeps_both(copy: Path) -> None:
    (copy.parent / "c.pt.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(copy, {"layer": layer(3)})
    assert number_in(copy) == (2, None)
    assert number_in(copy.with_name("c.previous.pt")) == (1, None)
    assert len(list(copy.parent.iterdir())) == 2


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        number_in(tmp_path / "c.pt")


def test_a_checkpoint_of_another_shape(two: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the layer of the checkpoint .* does not fit"):
        checkpoint.load(two, {"layer": nn.Linear(4, 2)})
    with pytest.raises(CheckpointError, match="holds no optimizer"):
        checkpoint.load(two, {"optimizer": nn.Linear(3, 2)})
