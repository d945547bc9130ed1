from pathlib import Path

import pytest
import torch
from torch import nn

from training import checkpoint
from training.checkpoint import CheckpointError


def test_state_comes_back(tmp_path: Path) -> None:
    saved, restored = nn.Linear(3, 2), nn.Linear(3, 2)
    checkpoint.save(tmp_path / "c.pt", {"layer": saved})
    checkpoint.load(tmp_path / "c.pt", {"layer": restored})
    assert torch.equal(saved.weight, restored.weight)
    assert list(tmp_path.iterdir()) == [tmp_path / "c.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_keeps_the_last_one(tmp_path: Path) -> None:
    saved = nn.Linear(3, 2)
    checkpoint.save(tmp_path / "c.pt", {"layer": saved})
    (tmp_path / "c.pt.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"c\.pt cannot be written \(No space left on device\)"):
        checkpoint.save(tmp_path / "c.pt", {"layer": nn.Linear(3, 2)})
    restored = nn.Linear(3, 2)
    checkpoint.load(tmp_path / "c.pt", {"layer": restored})
    assert torch.equal(saved.weight, restored.weight)
    assert list(tmp_path.iterdir()) == [tmp_path / "c.pt"]


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        checkpoint.load(tmp_path / "c.pt", {"layer": nn.Linear(3, 2)})


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_torn_checkpoint(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"layer": nn.Linear(30, 20)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(path, {"layer": nn.Linear(30, 20)})


def test_a_checkpoint_of_another_shape(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", {"layer": nn.Linear(3, 2)})
    with pytest.raises(CheckpointError, match=r"the layer of the checkpoint .* does not fit"):
        checkpoint.load(tmp_path / "c.pt", {"layer": nn.Linear(4, 2)})
    with pytest.raises(CheckpointError, match="holds no optimizer"):
        checkpoint.load(tmp_path / "c.pt", {"optimizer": nn.Linear(3, 2)})
