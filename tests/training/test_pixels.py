import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.pixels import UnsupportedImage, is_grey, to_square


def flat(mode: str, colour: object, size: tuple[int, int] = (20, 20)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "channels", "expected"),
    [
        (flat("L", 100), 1, [100]),
        (flat("L", 100), 3, [100, 100, 100]),
        (flat("RGB", (10, 20, 30)), 3, [10, 20, 30]),
        # the luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B
        (flat("RGB", (100, 200, 50)), 1, [153]),
        (flat("1", 1), 1, [255]),
        (flat("RGBA", (0, 0, 0, 0)), 3, [255, 255, 255]),
        (flat("RGBA", (9, 8, 7, 255)), 3, [9, 8, 7]),
        (flat("LA", (0, 0)), 1, [255]),
        (flat("CMYK", (0, 0, 0, 255)), 3, [0, 0, 0]),
        (flat("I;16", 65535), 1, [255]),
        (flat("I;16", 32896), 1, [128]),
        (flat("I", 65535), 3, [255, 255, 255]),
    ],
)
def test_every_mode_becomes_eight_bits(image: Image.Image, channels: int, expected: list[int]) -> None:
    square = to_square(image, 16, channels)
    assert square.shape == (16, 16, channels)
    assert square.dtype == np.uint8
    assert (square == expected).all()


def test_a_palette_image_keeps_its_colours_and_its_transparency() -> None:
    palette = flat("RGB", (10, 20, 30)).quantize(2)
    assert (to_square(palette, 16, 3) == [10, 20, 30]).all()
    file = io.BytesIO()
    palette.save(file, format="PNG", transparency=palette.getpixel((0, 0)))
    assert (to_square(Image.open(file), 16, 3) == 255).all()


@pytest.mark.parametrize("image", [flat("F", 0.5), flat("I", 70_000), flat("I", -1)])
def test_pixels_without_one_meaning_are_refused(image: Image.Image) -> None:
    with pytest.raises(UnsupportedImage, match="expected 8 or 16 bits"):
        to_square(image, 16, 1)


def test_the_centre_is_kept() -> None:
    wide = Image.new("L", (48, 16), 0)
    wide.paste(255, (16, 0, 32, 16))
    assert (to_square(wide, 16, 1) == 255).all()
    assert (to_square(wide.rotate(90, expand=True), 16, 1) == 255).all()


def test_a_photograph_stands_upright() -> None:
    image = Image.new("L", (32, 32), 0)
    image.paste(255, (0, 0, 32, 16))  # white above
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    image.save(file, format="PNG", exif=exif)
    square = to_square(Image.open(file), 16, 1)
    assert square[2].max() == 0
    assert square[-3].min() == 255


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3]), st.sampled_from([16, 32]))
def test_any_size_becomes_the_square_asked_for(
    width: int, height: int, channels: int, resolution: int
) -> None:
    square = to_square(flat("RGB", (7, 7, 7), (width, height)), resolution, channels)
    assert square.shape == (resolution, resolution, channels)
    assert (square == 7).all()


def test_grey_is_told_from_the_header() -> None:
    assert [is_grey(flat(mode, 0)) for mode in ("1", "L", "I;16", "RGB", "P")] == [
        True,
        True,
        True,
        False,
        False,
    ]
