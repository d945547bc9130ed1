from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.metrics import balanced_accuracy_score

from training.data import ImageData
from training.features import fitted
from training.game import Game
from training.held_out import Split, split
from training.hyperparameters import Hyperparameters
from training.quality import Quality, balanced_accuracy, variety
from training.run import RunRecord

LABELS = np.repeat(np.arange(3), 20)


def features(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((60, 5)).astype(np.float32)


def test_variety_is_the_mean_square_distance_of_pairs() -> None:
    real, generated = features(0), features(1) * np.repeat([1.0, 0.5, 2.0], 20)[:, None].astype(np.float32)

    def spread(found: NDArray[np.float32], number: int) -> float:
        return float(np.sqrt((pdist(found[number == LABELS]) ** 2).mean()))

    ratios = [spread(generated, number) / spread(real, number) for number in range(3)]
    found = variety(real, generated, LABELS)
    assert found.least_class == 1 == np.argmin(ratios)
    assert found.least == pytest.approx(ratios[1], rel=1e-5)
    assert found.by_class == pytest.approx(dict(enumerate(ratios)), rel=1e-5)


def test_another_place_of_a_class_is_no_variety() -> None:
    real = features()
    assert variety(real, real + LABELS[:, None].astype(np.float32), LABELS).overall == pytest.approx(1)
    pictures = real[::20][LABELS]  # one in each class
    assert variety(real, pictures, LABELS)[:2] == pytest.approx((0, 0), abs=1e-6)


def test_small_classes_count_in_the_whole_alone() -> None:
    labels = np.array([0] * 30 + [1] * 25 + [2] * 5)
    generated = features(1)
    generated[labels == 2] = 0
    found = variety(features(), generated, labels)
    assert found.least_class in {0, 1}
    assert set(found.by_class) == {0, 1}
    assert variety(features(), generated, np.zeros(60, np.int64)).least_class is None


def test_accuracy_is_balanced_about_the_median_of_each_class() -> None:
    draws = np.random.default_rng(0)
    real, generated = np.repeat([0, 1], [60, 40]), np.repeat([0, 1], [60, 40])
    on_real = (draws.normal(0.6, 1, 100) + 7 * real).astype(np.float32)
    on_generated = (draws.normal(-0.6, 1, 100) + 7 * generated).astype(np.float32)
    logits, labels = np.concatenate([on_real, on_generated]), np.concatenate([real, generated])
    truth = np.repeat([1, 0], 100)
    called = np.zeros(200, np.int64)
    for number in (0, 1):
        chosen = labels == number
        called[chosen] = logits[chosen] > np.median(logits[chosen])
    expected = balanced_accuracy_score(truth, called)
    assert balanced_accuracy(on_real, real, on_generated, generated) == pytest.approx(expected)
    # 0.6 standard deviations on either side of the middle
    assert expected == pytest.approx(0.726, abs=0.05)


@pytest.mark.parametrize(("gap", "expected"), [(9.0, 1.0), (0.0, 0.5), (-9.0, 0.0)])
def test_accuracy_of_one_who_can_tell_who_cannot_and_who_is_wrong(gap: float, expected: float) -> None:
    labels = np.arange(50) % 5
    logits = np.linspace(0, 1, 50, dtype=np.float32) if gap else np.zeros(50, np.float32)
    assert balanced_accuracy(logits + gap, labels, logits, labels) == expected


@pytest.fixture(scope="module")
def real(digits_data: ImageData) -> Split:
    return split(digits_data, 32, seed=3)


@pytest.fixture(scope="module")
def quality(real: Split, tmp_path_factory: pytest.TempPathFactory, digits_data: ImageData) -> Quality:
    folder = tmp_path_factory.mktemp("run")
    return Quality(fitted(folder, real.learned, 10, 3), real, digits_data.classes)


def test_a_generator_that_draws_the_held_out_images_is_perfect(
    record: RunRecord, real: Split, quality: Quality, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(record, torch.device("cpu"))
    monkeypatch.setattr(game, "pictures", lambda _: real.unseen.images[:])
    measured = quality.measure(game)
    assert measured.distance == pytest.approx(0, abs=1e-6)
    assert (measured.recall, measured.accuracy) == (1, 0.5)
    assert (measured.variety, measured.least_variety) == (1, 1)


def test_the_variety_of_each_class_is_measured(
    record: RunRecord, digits_data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = split(digits_data, 200, seed=3)
    quality = Quality(fitted(tmp_path, parts.learned, 10, 3), parts, digits_data.classes)
    drawn = parts.unseen.images[:]
    nines = parts.unseen.labels == digits_data.classes.index("9")
    drawn[nines] = drawn[nines][0]
    game = Game(record, torch.device("cpu"))
    monkeypatch.setattr(game, "pictures", lambda _: drawn)
    expected = dict.fromkeys(digits_data.classes, 1.0) | {"9": 0.0}
    assert quality.measure(game).class_variety == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("architecture", ["r3gan", "dcgan"])
def test_measuring_always_gives_the_same_and_changes_nothing(
    architecture: str, record: RunRecord, real: Split, quality: Quality
) -> None:
    settings = Hyperparameters.model_validate({"architecture": architecture, "resolution": 16, "batch": 8})
    record = record.model_copy(update={"hyperparameters": settings})
    measured, other = Game(record, torch.device("cpu")), Game(record, torch.device("cpu"))
    for _ in range(2):
        for game in (measured, other):
            game.step(real.learned)
            game.settle(real.learned)
        before = torch.get_rng_state()
        first = quality.measure(measured)
        torch.manual_seed(1)  # the global generator has no say
        assert quality.measure(measured) == first
        torch.set_rng_state(before)
    for one, same in ((measured.average, other.average), (measured.discriminator, other.discriminator)):
        state = same.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
