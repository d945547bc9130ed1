"""Encoded images, decoded by Pillow, zipfile, NumPy and json."""

import base64
import io
import json
import math
import zipfile
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.encoding import FORMATS, Format, Generated, contact_sheet, contact_sheet_shape
from service.rows import Images

CLASSES = ("cat", "dog", "Ænima / 7")


def images(n: int, height: int = 12, width: int = 8, channels: int = 3) -> Images:
    """Smooth ones, which JPEG and lossy WebP keep."""
    y, x = np.mgrid[:height, :width]
    image = 100 + 5 * y + 4 * x
    return np.stack(
        [np.stack([image + 10 * (i % 5) + 20 * c for c in range(channels)], -1) for i in range(n)]
    ).astype(np.uint8)


def generated(n: int, *, channels: int = 3, conditional: bool = True, seed: int | None = 7) -> Generated:
    return Generated(
        images(n, channels=channels),
        seed=seed,
        indices=np.arange(10**12, 10**12 + n),
        labels=np.arange(n) % 3 if conditional else None,
        classes=CLASSES if conditional else (),
        model="tiny:3",
        digest="abc",
    )


def encoded(name: str, made: Generated) -> bytes:
    return b"".join(format_called(name).encode(made))


def format_called(name: str) -> Format:
    return next(each for each in FORMATS if each.name == name)


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("webp-lossless", "WEBP")])
def test_lossless_pictures_keep_every_pixel(name: str, kind: str, channels: int) -> None:
    made = generated(1, channels=channels)
    read = picture(encoded(name, made))
    assert read.format == kind
    expected = np.broadcast_to(made.images[0], (12, 8, 3))
    assert np.array_equal(np.asarray(read.convert("RGB")), expected)


def test_png_of_grey_images_is_grey() -> None:
    assert picture(encoded("png", generated(1, channels=1))).mode == "L"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_lossy_pictures_look_like_the_image(name: str, channels: int) -> None:
    made = generated(1, channels=channels)
    read = picture(encoded(name, made))
    assert read.format == name.upper()
    assert read.size == (8, 12)
    expected = np.broadcast_to(made.images[0], (12, 8, 3)).astype(int)
    assert np.abs(np.asarray(read.convert("RGB")).astype(int) - expected).max() <= 12


@given(st.integers(1, 300), st.integers(1, 5), st.integers(1, 5))
def test_the_sheet_is_nearly_square_and_holds_every_image(n: int, height: int, width: int) -> None:
    made = images(n, height, width, 1)
    sheet = contact_sheet(made)
    assert sheet.shape == (*contact_sheet_shape(n, height, width), 1)
    rows, columns = sheet.shape[0] // height, sheet.shape[1] // width
    assert columns == math.ceil(math.sqrt(n))
    assert (rows - 1) * columns < n <= rows * columns
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert np.array_equal(cell, made[i]) if i < n else (cell == 255).all()


@pytest.mark.parametrize("name", ["png", "webp", "webp-lossless", "jpeg"])
def test_several_images_make_a_contact_sheet(name: str) -> None:
    assert picture(encoded(name, generated(5))).size == (3 * 8, 2 * 12)


def test_zip_holds_the_images_and_a_manifest() -> None:
    made = generated(4)
    with zipfile.ZipFile(io.BytesIO(encoded("zip", made))) as archive:
        assert archive.testzip() is None
        *names, last = archive.namelist()
        assert last == "manifest.jsonl"
        lines = [json.loads(line) for line in archive.read(last).splitlines()]
        assert [line["file"] for line in lines] == names
        assert lines[2] == {
            "file": f"{10**12 + 2}.png",
            "seed": 7,
            "index": 10**12 + 2,
            "label": CLASSES[2],
            "model": "tiny:3",
            "digest": "abc",
        }
        for name, image in zip(names, made.images, strict=True):
            assert np.array_equal(np.asarray(picture(archive.read(name))), image)
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}


def test_json_holds_each_image_with_its_address() -> None:
    made = generated(3)
    document = json.loads(encoded("json", made))
    assert (document["model"], document["digest"]) == ("tiny:3", "abc")
    assert [(image["seed"], image["index"], image["label"]) for image in document["images"]] == [
        (7, 10**12 + i, CLASSES[i]) for i in range(3)
    ]
    for image, expected in zip(document["images"], made.images, strict=True):
        assert np.array_equal(np.asarray(picture(base64.b64decode(image["image"]))), expected)


def npz(made: Generated) -> dict[str, Any]:
    with np.load(io.BytesIO(encoded("npz", made)), allow_pickle=False) as arrays:
        return dict(arrays)


def test_npz_holds_the_arrays() -> None:
    made = generated(3, channels=1)
    arrays = npz(made)
    assert set(arrays) == {"images", "labels", "indices"}
    assert arrays["images"].dtype == np.uint8
    assert np.array_equal(arrays["images"], made.images)
    assert arrays["labels"].dtype == arrays["indices"].dtype == np.int64
    assert arrays["labels"].tolist() == [0, 1, 2]
    assert arrays["indices"].tolist() == [10**12, 10**12 + 1, 10**12 + 2]


def test_npz_is_an_archive_without_faults_or_dates() -> None:
    with zipfile.ZipFile(io.BytesIO(encoded("npz", generated(3)))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["images.npy", "labels.npy", "indices.npy"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_npz_of_a_part_of_a_batch_holds_that_part() -> None:
    batch = images(9)
    made = replace(generated(3), images=batch[::3])
    assert np.array_equal(npz(made)["images"], batch[::3])


def test_large_arrays_leave_without_being_copied() -> None:
    batch = np.zeros((4, 200, 200, 3), np.uint8)
    assert shares_memory(batch, of=batch)
    assert shares_memory(batch[1:], of=batch)


def test_a_few_images_of_a_large_batch_do_not_keep_it_in_memory() -> None:
    batch = np.zeros((9, 200, 200, 3), np.uint8)
    assert not shares_memory(batch[:2], of=batch)


def shares_memory(part: Images, of: Images) -> bool:
    buffers = format_called("npz").encode(replace(generated(len(part)), images=part))
    return any(np.shares_memory(np.frombuffer(buffer, np.uint8), of) for buffer in buffers)


@pytest.mark.parametrize("name", ["zip", "npz"])
def test_small_buffers_are_joined_and_none_is_empty(name: str) -> None:
    assert [len(buffer) > 0 for buffer in format_called(name).encode(generated(9))] == [True]
    made = replace(generated(3), images=np.random.default_rng(1).integers(0, 256, (3, 200, 200, 3), np.uint8))
    buffers = format_called(name).encode(made)
    assert all(map(len, buffers))
    assert not any(len(one) < 2**16 and len(next_) < 2**16 for one, next_ in pairwise(buffers))


def test_what_has_no_label_or_seed_says_so() -> None:
    made = generated(2, conditional=False, seed=None)
    assert npz(made)["labels"].tolist() == [-1, -1]
    assert {(image["seed"], image["label"]) for image in json.loads(encoded("json", made))["images"]} == {
        (None, None)
    }


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_the_same_images_give_the_same_bytes(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoded(form.name, generated(3))
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert encoded(form.name, generated(3)) == before


@pytest.mark.parametrize("name", ["webp", "webp-lossless", "jpeg"])
def test_the_largest_side_is_what_pillow_can_write(name: str) -> None:
    form = format_called(name)
    assert form.largest_side is not None
    for side, fits in ((form.largest_side, True), (form.largest_side + 1, False)):
        made = Generated(np.zeros((1, 1, side, 1), np.uint8), 0, np.arange(1), None, (), "", "")
        if fits:
            assert picture(encoded(name, made)).size == (side, 1)
        else:
            with pytest.raises((OSError, ValueError), match=r"error|broken"):
                encoded(name, made)
