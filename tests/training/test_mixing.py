from pathlib import Path

import pytest

from models.shelf import Generator, Shelf
from tests.training.galleries import chosen, gallery, real_digits
from training import mixing
from training.kept import Kept
from training.mixing import alone, by_accuracy, study
from training.subject import RealImages, Subject


@pytest.fixture(scope="module")
def real() -> RealImages:
    return real_digits()


@pytest.fixture(scope="module")
def generator(real: RealImages, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Shelf(tmp_path_factory.mktemp("shelf")).place(gallery("real", chosen(real, per_class=120)))


def test_good_generated_images_help_when_real_ones_are_scarce(
    generator: Generator, real: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "AMOUNTS", {0.01: (2, 1.0)})
    monkeypatch.setattr(mixing, "TRUNCATIONS", {"normal": (None,)})
    monkeypatch.setattr(mixing, "GENERATED_SHARES", (0.5,))
    subject = Subject(generator, real, images=1_000, presentations=6_000, seed=0)
    mixtures = study(subject, Kept(tmp_path, {}))
    scarce, (mixed,) = alone(mixtures, 0.01), by_accuracy(mixtures, 0.01)
    assert scarce.real_images == sum(
        max(1, round(0.01 * (real.train.labels == number).sum())) for number in range(10)
    )
    assert scarce.accuracy < 0.75
    assert mixed.accuracy > 0.85
    assert len(mixed.accuracies) == 2
    assert mixed.accuracies[0] != mixed.accuracies[1]


def test_every_amount_is_mixed_with_every_truncation_and_share(
    generator: Generator, real: RealImages, tmp_path: Path
) -> None:
    subject = Subject(generator, real, images=200, presentations=1_000, seed=0)
    mixtures = study(subject, Kept(tmp_path, {}))
    recipes = {(each.real_share, each.truncation, each.generated_share) for each in mixtures}
    assert len(recipes) == len(mixtures) == 3 + 3 * 3 * 3
    assert {each.real_share for each in mixtures} == {0.01, 0.1, 1.0}
    assert {each.truncation for each in mixtures} == {None, 1.5, 0.75}
    assert {each.real_images for each in mixtures if each.real_share == 1} == {1400}
    assert all(len(each.accuracies) == 3 for each in mixtures if each.real_share == 0.01)
    for amount in (0.01, 0.1, 1.0):
        steps = {each.presentations for each in mixtures if each.real_share == amount}
        assert len(steps) == 1, "mixtures that are compared were shown as many images"


def test_finished_mixtures_are_not_measured_again(
    generator: Generator, real: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "AMOUNTS", {0.1: (2, 0.2)})
    subject = Subject(generator, real, images=200, presentations=1_000, seed=0)
    first = study(subject, Kept(tmp_path, {}))
    monkeypatch.setattr(mixing, "fit_batches", lambda *_, **__: pytest.fail("measured again"))
    assert study(subject, Kept(tmp_path, {})) == first
