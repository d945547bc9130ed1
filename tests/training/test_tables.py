"""Tables of images and labels, in the schema of the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
from PIL import Image

from tests.digits import digits
from training.data import load
from training.data_errors import DataError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def parquet(path: Path, labels: list[object], feature: object, images: Sequence[object] = ()) -> str:
    pictures = images or [Image.new("L", (8, 8), row) for row in range(len(labels))]
    table = datasets.Dataset.from_dict(
        {"image": list(pictures), "label": labels},
        features=datasets.Features({"image": datasets.Image(), "label": feature}),
    )
    table.to_parquet(str(path))
    return str(path)


def test_parquet_in_the_schema_of_the_hub(cache: Path, tmp_path: Path) -> None:
    images, labels = digits()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"digit {n}" for n in range(10)])}
    )
    for split, rows in (("train", slice(0, 200)), ("test", slice(200, 300))):
        table = datasets.Dataset.from_dict(
            {"image": [Image.fromarray(image) for image in images[rows]], "label": labels[rows]},
            features=features,
        )
        table.to_parquet(str(tmp_path / "hub" / f"{split}.parquet"))
    train = load(str(tmp_path / "hub"), resolution=16, cache=cache)
    test = load(str(tmp_path / "hub"), resolution=16, split="test", cache=cache)
    alone = load(str(tmp_path / "hub" / "test.parquet"), resolution=16, cache=cache)
    assert train.classes == tuple(f"digit {n}" for n in range(10))
    assert train.images.shape == (200, 16, 16, 1)
    assert (train.labels == labels[:200]).all()
    assert (test.labels == labels[200:300]).all()
    assert alone.fingerprint == test.fingerprint


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        ([10, 10, 3, 3], "int64", ("3", "10")),
        (["10", "10", "3", "3"], "string", ("3", "10")),
        (["dog", "dog", "cat", "cat"], "string", ("cat", "dog")),
        (["10", "10", "-", "-"], "string", ("-", "10")),
    ],
)
def test_parquet_labels_without_names_are_classes(
    tmp_path: Path, cache: Path, labels: list[object], kind: str, classes: tuple[str, ...]
) -> None:
    data = load(parquet(tmp_path / "t.parquet", labels, datasets.Value(kind)), resolution=16, cache=cache)
    assert data.classes == classes
    assert data.labels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (None, datasets.ClassLabel(names=["a"])),
        (None, datasets.Value("int64")),
        (-1, datasets.ClassLabel(names=["a"])),
        ("", datasets.Value("string")),
    ],
)
def test_a_missing_label_is_refused(tmp_path: Path, cache: Path, label: object, kind: object) -> None:
    known = "a" if label == "" else 0
    source = parquet(tmp_path / "t.parquet", [known, known, label], kind)
    with pytest.raises(DataError, match="have no label"):
        load(source, resolution=16, cache=cache)


def test_labels_that_are_no_classes_are_refused(tmp_path: Path, cache: Path) -> None:
    source = parquet(tmp_path / "t.parquet", [[1], [1, 3]], datasets.List(datasets.Value("int64")))
    with pytest.raises(DataError, match=r"the column label of .* holds List, expected numbers or strings"):
        load(source, resolution=16, cache=cache)


def test_a_missing_image_counts_as_unreadable(tmp_path: Path, cache: Path) -> None:
    images = [*[Image.new("L", (8, 8))] * 199, None]
    source = parquet(tmp_path / "t.parquet", [0] * 200, datasets.ClassLabel(names=["a"]), images)
    data = load(source, resolution=16, cache=cache)
    assert data.unreadable == ("row 199 (no image)",)
    assert len(data.images) == 199


def test_of_several_image_columns_one_is_chosen(cache: Path, tmp_path: Path) -> None:
    squares = {name: [Image.new("L", (16, 16), shade)] * 2 for name, shade in (("before", 0), ("after", 200))}
    features = datasets.Features({name: datasets.Image() for name in squares})
    table = tmp_path / "pairs.parquet"
    datasets.Dataset.from_dict(squares, features=features).to_parquet(str(table))
    with pytest.raises(DataError, match=r"several image columns; choose one of before, after with --column"):
        load(str(table), resolution=16, cache=cache)
    with pytest.raises(DataError, match=r"no image column middle; it has before, after"):
        load(str(table), resolution=16, column="middle", cache=cache)
    for name, shade in (("after", 200), ("before", 0), ("after", 200)):
        assert (load(str(table), resolution=16, column=name, cache=cache).images == shade).all()


def test_what_is_not_here_is_said_to_be_looked_up_on_the_hub(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"photo/cats is neither here nor on the Hugging Face hub"):
        load("photo/cats", resolution=16, cache=cache)
    said = "photo/cats is no file or folder here; looking it up on the Hugging Face hub"
    assert said in capsys.readouterr().err
