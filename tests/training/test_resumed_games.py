"""A run of any game that is killed goes on, bit for bit."""

from pathlib import Path

import pytest

from tests.training.runs import Training, whole
from training.losses import LOSSES

GAMES = {
    "minimax": ("--augment", "adaptive"),
    "non-saturating": ("--mirror", "--learning-rate", "1e-3..1e-4", "--ema", "100..50", "--schedule", "20"),
    "least-squares": ("--augment", "0.5", "--microbatch", "4", "--deterministic"),
    "hinge": ("--normalization", "spectral", "--penalty", "none", "--augment", "adaptive"),
    "wasserstein": ("--precision", "bfloat16", "--gamma", "10..1", "--schedule", "20"),
    "relativistic-pairing": ("--augment", "adaptive", "--microbatch", "4", "--mirror"),
}


@pytest.mark.parametrize("architecture", ["r3gan", "dcgan"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_game_resumes_bit_for_bit(
    architecture: str, loss: str, new: tuple[str, ...], again: tuple[str, ...], tmp_path: Path
) -> None:
    game = (*new, "--snapshot", "16", "--architecture", architecture, "--loss", loss, *GAMES[loss])
    Training(tmp_path / "unbroken", *game).finish()
    broken = Training(tmp_path / "broken", *game, dies_at=33)  # amid the second snapshot
    broken.wait()
    assert broken.process.exitcode == -9
    assert (tmp_path / "broken" / "checkpoint.pt").exists()
    Training(tmp_path / "broken", *again).finish()
    assert whole(tmp_path / "broken", tmp_path / "unbroken")
