import os
from pathlib import Path

import pytest
from PIL import Image

from training.data_errors import DataError
from training.folder import read_folder


def paint(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / path, format="PNG")


def found(root: Path, split: str = "train") -> dict[str, list[str]]:
    folder = read_folder(root, split)
    names = folder.classes or ("",)
    listed: dict[str, list[str]] = {name: [] for name in names}
    for file, label in zip(folder.files, folder.labels, strict=True):
        listed[names[label]].append(file.relative_to(root).as_posix())
    return listed


def test_first_level_folders_are_classes_whatever_is_in_them(tmp_path: Path) -> None:
    paint(tmp_path, "dog/1.png", "dog/sub/2.PNG", "cat/a/3.jpg", "cat/b/4.webp")
    assert found(tmp_path) == {"cat": ["cat/a/3.jpg", "cat/b/4.webp"], "dog": ["dog/1.png", "dog/sub/2.PNG"]}


def test_what_is_no_picture_is_passed_over_and_foreign_pictures_are_not(tmp_path: Path) -> None:
    paint(tmp_path, "a/1.png", "a/2.heic", ".cache/3.png", "__MACOSX/4.png", "a/._1.png")
    for name in ("metadata.csv", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_text("file_name,label\n")
    assert found(tmp_path) == {"a": ["a/1.png", "a/2.heic"]}


def test_a_linked_class_is_a_class(tmp_path: Path) -> None:
    paint(tmp_path, "elsewhere/1.png", "photos/cat/2.png")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "elsewhere")
    assert set(found(tmp_path / "photos")) == {"cat", "dog"}


def test_a_link_to_a_folder_that_it_is_in_is_refused(tmp_path: Path) -> None:
    paint(tmp_path, "a/deep/1.png", "b/2.png")
    loop = tmp_path / "a" / "deep" / "loop"
    for target in (tmp_path.parent, tmp_path, tmp_path / "a", tmp_path / "a" / "deep"):
        loop.symlink_to(target)
        with pytest.raises(DataError, match=r"deep/loop leads back to .*; remove that link"):
            read_folder(tmp_path, "train")
        loop.unlink()
    loop.symlink_to(tmp_path / "b")
    assert len(found(tmp_path)["a"]) == 2


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    paint(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "b" / os.fsdecode(b"\xff.txt")).touch()
    assert found(tmp_path) == {"a": ["a/1.png"], "b": ["b/2.png"]}
    (tmp_path / "b" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(DataError, match=r"b holds '\\udcff\.png', which is no UTF-8; rename it"):
        read_folder(tmp_path, "train")


def test_an_empty_class_is_still_a_class(tmp_path: Path) -> None:
    paint(tmp_path, "a/1.png")
    (tmp_path / "b").mkdir()
    assert found(tmp_path)["b"] == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_splits_hold_classes_or_flat_images(tmp_path: Path, split: str) -> None:
    paint(tmp_path, "flat/train/1.png", "flat/test/1.png", "deep/train/a/1.png", "deep/test/a/1.png")
    assert found(tmp_path / "flat", split) == {"": [f"{split}/1.png"]}
    assert found(tmp_path / "deep", split) == {"a": [f"{split}/a/1.png"]}


@pytest.mark.parametrize("held_out", ["validation", "valid", "val"])
def test_images_for_validation_are_no_class(tmp_path: Path, held_out: str) -> None:
    paint(tmp_path, "train/a/1.png", "train/b/1.png", f"{held_out}/a/2.png", f"{held_out}/b/2.png")
    assert found(tmp_path) == {"a": ["train/a/1.png"], "b": ["train/b/1.png"]}


def test_classes_that_are_numbers_keep_their_numbers(tmp_path: Path) -> None:
    paint(tmp_path, *(f"{number}/1.png" for number in range(12)))
    assert read_folder(tmp_path, "train").classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("name", ["photos [2024]", "a::b", "größe", "*", "at 1.00\u202fPM"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    paint(tmp_path / name, "a/1.png", "b/1.png")
    assert set(found(tmp_path / name)) == {"a", "b"}


@pytest.mark.parametrize(
    ("paths", "split", "message"),
    [
        (["cover.png", "dog/1.png"], "train", "images beside folders of images, such as cover.png"),
        (["train/a/1.png", "test/a/1.png", "extra/1.png"], "train", "train/ and test/ beside extra"),
        (["a/1.png"], "test", "has no test split; name other images with --test"),
        (["train/a/1.png"], "test", "has no test split; name other images with --test"),
        ([], "train", "holds no images"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, paths: list[str], split: str, message: str) -> None:
    paint(tmp_path, *paths)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path, split)
