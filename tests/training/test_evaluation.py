"""The whole evaluation, in small; what each part is worth is tested with the part."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.shelf import Generator, Shelf
from tests.training.galleries import chosen, gallery, real_digits
from training import inception, mixing, plots, report, scores
from training.evaluation import Evaluation, evaluate
from training.inception import InceptionScores
from training.kept import Kept
from training.subject import RealImages, Subject


@pytest.fixture(scope="module")
def real() -> RealImages:
    return real_digits()


@pytest.fixture
def generator(real: RealImages, tmp_path: Path) -> Generator:
    return Shelf(tmp_path / "shelf").place(gallery("real", chosen(real, per_class=50)))


@pytest.fixture
def few_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "AMOUNTS", {0.1: (1, 0.2)})
    monkeypatch.setattr(mixing, "GENERATED_SHARES", (0.5,))


def subject(generator: Generator, real: RealImages) -> Subject:
    return Subject(generator, real, images=200, presentations=1_000, seed=0)


def test_class_names_are_drawn_as_they_are() -> None:
    name = "$100_$200"
    score = scores.Scores(real_accuracy=0.9, label_agreement=0.8, cas=0.7, deviation_ratio=1)
    figure = plots.classes({name: score, "other": score})
    figure.savefig(io.BytesIO(), format="png")
    assert name in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_evaluation_stands_beside_the_version_and_in_the_card(
    generator: Generator, real: RealImages, tmp_path: Path
) -> None:
    before = generator.path.read_bytes()
    measuring = subject(generator, real)
    measured = evaluate(measuring, Kept(tmp_path / "kept", {}))
    path = report.write(measuring, measured)
    assert path == tmp_path / "shelf" / "real" / "1" / "evaluation.json"
    document = json.loads(path.read_text())
    assert document["digest"] == generator.digest
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", document["source_commit"])
    assert measured.overall
    assert document["overall"]["cas"] == measured.overall.cas
    assert document["memorisation"]["pixels"]["nearer_share"] == 1  # it shows training images
    assert len(document["mixtures"]) == 30
    assert Evaluation.model_validate_json(path.read_bytes()) == measured
    assert generator.path.read_bytes() == before
    card = (tmp_path / "shelf" / "real" / "README.md").read_text()
    assert f"| digit 3 | {measured.by_class['digit 3'].real_accuracy:.1%} |" in card
    assert f"{measured.overall.cas:.1%}" in card
    assert "These are no FID and no KID" in card
    for name in ("classes", "closest", "mixtures"):
        assert f"](1/evaluation-{name}.png)" in card
        with Image.open(path.with_name(f"evaluation-{name}.png")) as picture:
            assert min(picture.size) > 300


@pytest.mark.usefixtures("few_mixtures")
def test_the_reason_why_inception_was_not_measured_is_told_and_kept(
    generator: Generator, real: RealImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("none")
    measured = evaluate(subject(generator, real), Kept(tmp_path / "kept", {}), weights)
    assert measured.inception is None
    assert measured.inception_unavailable == f"{weights} holds no weights"
    assert f"no FID, KID or Inception score: {weights} holds no weights" in capsys.readouterr().err
    assert f"were not measured: {weights} holds no weights." in report.as_markdown(measured)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_keeps_the_evaluation_before(
    generator: Generator, real: RealImages, tmp_path: Path
) -> None:
    measuring = subject(generator, real)
    measured = evaluate(measuring, Kept(tmp_path / "kept", {}))
    path = report.write(measuring, measured)
    before = path.read_bytes()
    path.with_name("evaluation.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        report.write(measuring, measured)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.part"))


def test_without_classes_the_rest_is_measured(real: RealImages, tmp_path: Path) -> None:
    unlabelled = RealImages(
        *(replace(data, classes=(), labels=data.labels * 0) for data in (real.train, real.test))
    )
    generator = Shelf(tmp_path / "shelf").place(gallery("plain", real.train.images[:100]))
    measuring = subject(generator, unlabelled)
    measured = evaluate(measuring, Kept(tmp_path / "kept", {}))
    path = report.write(measuring, measured)
    assert measured.overall is None
    assert measured.by_class == {}
    assert measured.mixtures == []
    assert measured.memorisation.pixels.nearer_share == 1
    assert measured.classifier_features.features == "which quarter turn an image was given"
    assert sorted(picture.name for picture in path.parent.glob("*.png")) == ["evaluation-closest.png"]
    card = (tmp_path / "shelf" / "plain" / "README.md").read_text()
    assert "CAS" not in card
    assert "| generated |" in card


@pytest.mark.usefixtures("few_mixtures")
def test_an_interrupted_evaluation_goes_on(
    generator: Generator, real: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(subject(generator, real), Kept(tmp_path / "whole", {}))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mixing, "study", interrupt)
        with pytest.raises(KeyboardInterrupt):
            evaluate(subject(generator, real), Kept(tmp_path / "kept", {}))
    monkeypatch.setattr(scores, "measure", lambda _: pytest.fail("measured again"))
    assert evaluate(subject(generator, real), Kept(tmp_path / "kept", {})) == whole


def test_an_interrupted_evaluation_measures_again_with_other_weights(
    generator: Generator, real: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_with: list[bytes] = []

    def measure(_real: object, _generated: object, weights: Path) -> InceptionScores:
        measured_with.append(weights.read_bytes())
        return InceptionScores.model_validate(dict.fromkeys(InceptionScores.model_fields, 1))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inception, "measure", measure)
    monkeypatch.setattr(scores, "measure", interrupt)
    weights = tmp_path / "weights.pth"
    for content in (b"one", b"one", b"two", b"one"):
        weights.write_bytes(content)
        with pytest.raises(KeyboardInterrupt):
            evaluate(subject(generator, real), Kept(tmp_path / "kept", {}), weights)
    assert measured_with == [b"one", b"two"]
