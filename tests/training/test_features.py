from pathlib import Path

import numpy as np
import pytest
import torch

from tests.digits import digits
from training.data import ImageData
from training.features import fitted
from training.held_out import Part, split
from training.pictures import Rows
from training.run import CLASSIFIER_FILE


@pytest.fixture(scope="module")
def learned(digits_data: ImageData) -> Part:
    return split(digits_data, 32, seed=3).learned


def test_a_run_fits_its_classifier_once(learned: Part, tmp_path: Path) -> None:
    first = fitted(tmp_path, learned, 10, seed=1)
    images = learned.images[:50]
    (tmp_path / "other").mkdir()
    again, other = fitted(tmp_path, learned, 10, seed=2), fitted(tmp_path / "other", learned, 10, seed=2)
    assert np.array_equal(first.features(images), again.features(images))
    assert not np.array_equal(first.features(images), other.features(images))


def test_a_seed_reproduces_the_features_and_leaves_the_draws_of_others_alone(
    learned: Part, tmp_path: Path
) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        before = torch.get_rng_state()
        found.append(fitted(tmp_path / name, learned, 10, seed=1).features(learned.images[:20]))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(len(found))
    assert np.array_equal(found[0], found[1])


def test_without_classes_it_learns_quarter_turns(tmp_path: Path) -> None:
    images, _ = digits()
    images = images[:, :, :, np.newaxis].repeat(2, 1).repeat(2, 2)
    part = Part(Rows(images, np.arange(0, 1500)), np.zeros(1500, np.int64))
    classifier = fitted(tmp_path, part, 0, seed=0)
    turned = [np.rot90(images[1500:], turn, (1, 2)).copy() for turn in range(4)]
    right = [(classifier.predict(turned[turn]) == turn).mean() for turn in range(4)]
    assert np.mean(right) > 0.8  # 0.25 by chance; 0 and 8 look the same upside down
    again = fitted(tmp_path, part, 0, seed=0)
    assert np.array_equal(classifier.features(images[:20]), again.features(images[:20]))


def test_a_damaged_classifier_is_fitted_again(
    learned: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fitted(tmp_path, learned, 10, seed=1).features(learned.images[:20])
    (tmp_path / CLASSIFIER_FILE).write_bytes(b"torn")
    again = fitted(tmp_path, learned, 10, seed=1).features(learned.images[:20])
    assert np.array_equal(before, again)
    assert f"{CLASSIFIER_FILE} is damaged; it is fitted again" in capsys.readouterr().err
    assert np.array_equal(before, fitted(tmp_path, learned, 10, seed=1).features(learned.images[:20]))
    assert "damaged" not in capsys.readouterr().err
