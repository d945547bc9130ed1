import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.data import load
from training.data_errors import DataError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes, one of them called like a split; every image has one colour of its own."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("cat", "dog", "test")):
        (folder / name).mkdir(parents=True)
        for row in range(4):
            Image.new("RGB", (30, 20), (number * 50, row * 40, 200)).save(folder / name / f"{row}.png")
    return folder


def colours(images: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    assert (images == images[:, :1, :1]).all()
    return {tuple(image[0, 0].tolist()) for image in images}


EXPECTED = {(number * 50, row * 40, 200) for number in range(3) for row in range(4)}


def test_subfolders_are_classes(photos: Path, cache: Path) -> None:
    data = load(str(photos), resolution=16, cache=cache)
    assert data.name == "photos"
    assert data.classes == ("cat", "dog", "test")
    assert data.images.shape == (12, 16, 16, 3)
    assert isinstance(data.images, np.memmap)
    assert colours(data.images) == EXPECTED
    assert (data.images[:, 0, 0, 0] == data.labels * 50).all()


def test_a_flat_folder_is_unconditional(photos: Path, cache: Path) -> None:
    data = load(str(photos / "dog"), resolution=16, cache=cache)
    assert data.classes == ()
    assert len(data.images) == 4


def test_one_class_is_none(photos: Path, cache: Path) -> None:
    for name in ("cat", "test"):
        shutil.rmtree(photos / name)
    data = load(str(photos), resolution=16, cache=cache)
    assert data.classes == ()
    assert data.labels.tolist() == [0] * 4


@pytest.mark.parametrize("beside", [(), (".DS_Store", "__MACOSX/._photos")])
@pytest.mark.parametrize("root", ["", "inside/"])
def test_a_zip_is_read_like_its_folder(
    photos: Path, cache: Path, tmp_path: Path, root: str, beside: tuple[str, ...]
) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for hidden in beside:
            opened.writestr(hidden, b"hidden")
        for path in photos.rglob("*.png"):
            opened.write(path, root + str(path.relative_to(photos)))
    data = load(str(archive), resolution=16, cache=cache)
    assert data.fingerprint == load(str(photos), resolution=16, cache=cache).fingerprint
    assert data.classes == ("cat", "dog", "test")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_that_is_damaged_inside_is_refused(
    method: int, photos: Path, cache: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", method) as opened:
        for path in photos.rglob("*.png"):
            opened.write(path, str(path.relative_to(photos)))
    whole = archive.read_bytes()
    name = whole.index(b".png")
    archive.write_bytes(whole[: name + 20] + bytes(60) + whole[name + 80 :])
    with pytest.raises(DataError, match="is not a readable zip file"):
        load(str(archive), resolution=16, cache=cache)


def test_a_folder_of_splits(digits_folder: Path, cache: Path) -> None:
    train = load(str(digits_folder), resolution=16, cache=cache)
    test = load(str(digits_folder), resolution=16, split="test", cache=cache)
    assert (len(train.images), len(test.images)) == (320, 80)
    assert train.classes == test.classes == tuple("0123456789")


def test_the_second_load_reads_the_cache(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(str(photos), resolution=16, cache=cache)
    monkeypatch.setattr("training.data.to_square", None)  # decoding again would fail
    second = load(str(photos), resolution=16, cache=cache)
    assert (second.images == first.images).all()
    assert second.fingerprint == first.fingerprint
    as_asked = load(str(photos), resolution=16, channels=3, cache=cache)
    assert (as_asked.images == first.images).all()


def test_a_changed_image_is_another_fingerprint(photos: Path, cache: Path) -> None:
    before = load(str(photos), resolution=16, cache=cache)
    Image.new("RGB", (64, 64), (1, 2, 3)).save(photos / "cat" / "0.png")
    after = load(str(photos), resolution=16, cache=cache)
    assert (1, 2, 3) in colours(after.images)
    assert after.fingerprint != before.fingerprint


def test_resolution_and_channels_are_caches_of_their_own(photos: Path, cache: Path) -> None:
    assert load(str(photos), resolution=32, cache=cache).images.shape == (12, 32, 32, 3)
    assert load(str(photos), resolution=16, channels=1, cache=cache).images.shape == (12, 16, 16, 1)


def test_a_few_unreadable_files_are_named_and_left_out(photos: Path, cache: Path) -> None:
    for row in range(200):
        shutil.copy(photos / "dog" / "1.png", photos / "dog" / f"copy{row}.png")
    whole = (photos / "dog" / "1.png").read_bytes()
    (photos / "dog" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (photos / "cat" / "noise.png").write_bytes(b"no image")
    data = load(str(photos), resolution=16, cache=cache)
    assert len(data.images) == 212
    assert len(data.unreadable) == 2
    assert "noise.png" in data.unreadable[0]
    assert "torn.png" in data.unreadable[1]
    again = load(str(photos), resolution=16, cache=cache)
    assert again.unreadable == data.unreadable


def test_many_unreadable_files_stop_with_the_list(photos: Path, cache: Path) -> None:
    (photos / "cat" / "noise.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 13 images cannot be read(.|\n)*noise\.png"):
        load(str(photos), resolution=16, cache=cache)
    (photos / "cat" / "noise.png").unlink()
    assert len(load(str(photos), resolution=16, cache=cache).images) == 12


def test_a_class_with_one_image_stops_with_the_list(photos: Path, cache: Path) -> None:
    for name in ("bird", "fish"):
        (photos / name).mkdir()
        shutil.copy(photos / "cat" / "0.png", photos / name / "0.png")
    with pytest.raises(DataError, match="at least two images; add some to, or remove: bird, fish"):
        load(str(photos), resolution=16, cache=cache)


def test_nothing_half_written_is_left(photos: Path, cache: Path) -> None:
    (photos / "cat" / "noise.png").write_bytes(b"no image")
    with pytest.raises(DataError):
        load(str(photos), resolution=16, cache=cache)
    assert [path for path in cache.iterdir() if path.name != "tables"] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: "./nowhere", "does not exist; expected a folder of images"),
        (str, "holds no images"),
        (lambda path: str(path / "broken.zip"), "is not a readable zip file"),
        (lambda path: str(path / "table.parquet"), "has no image column"),
    ],
)
def test_what_is_no_data_is_refused(make: object, message: str, tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    source = make(folder)  # type: ignore[operator]
    if source.endswith(".zip"):
        Path(source).write_bytes(b"PK no zip")
    if source.endswith(".parquet"):
        datasets.Dataset.from_dict({"price": [1, 2]}).to_parquet(source)
    with pytest.raises(DataError, match=message):
        load(source, resolution=16, cache=cache)


def test_a_missing_split_is_named(photos: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="has no test split; name other images with --test"):
        load(str(photos / "cat"), resolution=16, split="test", cache=cache)


def test_the_cache_says_what_is_in_it(photos: Path, cache: Path) -> None:
    data = load(str(photos), resolution=16, cache=cache)
    (summary,) = cache.glob("*/data.json")
    assert json.loads(summary.read_text())["shape"] == list(data.images.shape)


def test_what_killed_processes_left_is_removed_after_a_day(photos: Path, cache: Path) -> None:
    load(str(photos), resolution=16, cache=cache)
    (decoded,) = cache.iterdir()
    old, new = (decoded.with_name(f"{decoded.name}.{name}.part") for name in ("old", "new"))
    shutil.copytree(decoded, new)
    decoded.rename(old)
    yesterday = time.time() - 100_000
    for path in (*old.iterdir(), old):
        os.utime(path, (yesterday, yesterday))
    others = (cache / "photos.part", cache / "film.mkv.part")
    shutil.copytree(old, others[0])
    others[1].touch()
    for path in others:
        os.utime(path, (yesterday, yesterday))
    load(str(photos), resolution=32, cache=cache)
    assert set(cache.glob("*.part")) == {new, *others}


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(
    ("name", "content"),
    [("images.bin", b"cut"), ("labels.npy", b""), ("data.json", b""), ("data.json", b"{}")],
)
def test_a_damaged_cache_is_told(
    photos: Path, cache: Path, name: str, content: bytes, channels: int | None
) -> None:
    load(str(photos), resolution=16, cache=cache)
    (file,) = cache.glob(f"*/{name}")
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"are damaged .*; remove that folder"):
        load(str(photos), resolution=16, channels=channels, cache=cache)


def test_two_processes_may_fill_one_cache(photos: Path, cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from training.data import load\n"
        "print(len(load(sys.argv[1], resolution=16, cache=Path(sys.argv[2])).images))"
    )
    command = [sys.executable, "-c", script, str(photos), str(cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["12", "12"]
