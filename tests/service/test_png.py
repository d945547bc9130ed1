"""PNG files, decoded by Pillow and by pypng, and taken apart as the specification says."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import png as pypng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service import png
from service.rows import Images

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Above 64 KiB images are filtered in another way, in bands of 128 KiB.
LARGE = [
    (1, 65537, 1),
    (65537, 1, 1),
    (1, 70000, 3),
    (30000, 1, 3),
    (257, 256, 1),
    (256, 257, 1),
    (150, 150, 3),
    (400, 500, 1),
    (3, 50000, 3),
    (2, 131073, 1),
]


def noise(shape: tuple[int, ...], seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def constant(shape: tuple[int, ...], seed: int) -> Images:
    return np.full(shape, seed % 256, np.uint8)


def gradient(shape: tuple[int, ...], seed: int) -> Images:
    """Slopes in every direction, and where they pass 255 or 0 edges."""
    slopes = np.random.default_rng(seed).integers(-9, 10, len(shape))
    return np.tensordot(slopes, np.indices(shape), 1).astype(np.uint8)


def few_values(shape: tuple[int, ...], seed: int) -> Images:
    """Next to one another are 0, 1, 2, 127, 128, 254 and 255: ties, wraps and jumps of the predictors."""
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 127, 128, 254, 255], np.uint8), shape)


contents = st.sampled_from([noise, constant, gradient, few_values])
seeds = st.integers(0, 2**32)
small_shapes = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))


def by_pillow(file: bytes) -> Images:
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
        return pixels.reshape(image.height, image.width, {"L": 1, "RGB": 3}[image.mode])


def by_pypng(file: bytes) -> Images:
    width, height, rows, about = pypng.Reader(bytes=file).read()
    return np.array([list(row) for row in rows], np.uint8).reshape(height, width, about["planes"])


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each; all of the file is in one, and their checksums hold."""
    assert file.startswith(SIGNATURE)
    found, rest = [], file[len(SIGNATURE) :]
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        content, checksum = rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert checksum == struct.pack(">I", zlib.crc32(kind + content))
        found.append((kind, content))
        rest = rest[12 + length :]
    return found


@given(small_shapes, contents, seeds)
def test_small_images_are_decoded_as_they_were(shape, content, seed) -> None:  # type: ignore[no-untyped-def]
    images = content(shape, seed)
    for file, image in zip(png.encode(images), images, strict=True):
        assert np.array_equal(by_pillow(file), image)
        assert np.array_equal(by_pypng(file), image)


@pytest.mark.parametrize("shape", LARGE, ids=str)
@pytest.mark.parametrize("content", [noise, constant, gradient, few_values])
def test_large_images_are_decoded_as_they_were(shape, content) -> None:  # type: ignore[no-untyped-def]
    image = content(shape, 1)
    (file,) = png.encode(image[np.newaxis])
    assert np.array_equal(by_pillow(file), image)


@pytest.mark.parametrize("shape", [(257, 256, 1), (150, 150, 3)], ids=str)
def test_another_decoder_reads_large_images_too(shape: tuple[int, ...]) -> None:
    image = few_values(shape, 1)
    (file,) = png.encode(image[np.newaxis])
    assert np.array_equal(by_pypng(file), image)


@settings(max_examples=20)
@given(st.integers(1, 700), st.sampled_from([1, 3]), contents, seeds)
def test_large_images_of_any_width_are_decoded_as_they_were(  # type: ignore[no-untyped-def]
    width, channels, content, seed
) -> None:
    image = content((65536 // (width * channels) + 1, width, channels), seed)
    (file,) = png.encode(image[np.newaxis])
    assert np.array_equal(by_pillow(file), image)


@pytest.mark.parametrize("shape", [(1, 1, 1), (28, 28, 1), (5, 7, 3), (300, 300, 1), (200, 200, 3)], ids=str)
def test_a_file_is_made_of_the_chunks_that_the_specification_asks_for(shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    (file,) = png.encode(noise((1, *shape), 1))
    (first, header), (second, deflated), last = chunks(file)
    assert (first, second, last) == (b"IHDR", b"IDAT", (b"IEND", b""))
    colour = {1: 0, 3: 2}[channels]
    assert struct.unpack(">IIBBBBB", header) == (width, height, 8, colour, 0, 0, 0)
    assert len(zlib.decompress(deflated)) == height * (1 + width * channels)


def test_a_constant_image_is_deflated_to_next_to_nothing() -> None:
    for side in (64, 1024):
        (file,) = png.encode(constant((1, side, side, 3), 7))
        assert len(file) < side * side * 3 / 50


@pytest.mark.parametrize("shape", [(100, 28, 28, 1), (3, 150, 150, 3), (70, 33, 30, 3)], ids=str)
def test_a_file_is_the_same_alone_and_among_others(shape: tuple[int, ...]) -> None:
    images = gradient(shape, 3) ^ noise(shape, 3) // 32
    assert png.encode(images) == [png.encode(image[np.newaxis])[0] for image in images]


def test_images_that_lie_in_memory_in_any_way_are_read_as_they_are() -> None:
    whole = noise((4, 300, 300, 3), 1)
    for images in (
        whole[::2, ::-1, ::2],
        whole[:, :20, :20, :1],
        whole.swapaxes(1, 2),
        whole[:, :9, :9, ::-1],
    ):
        assert png.encode(images) == png.encode(images.copy())


def test_threads_do_not_spoil_each_others_images() -> None:
    shapes = [(1, 28, 28, 1), (2, 28, 28, 1), (1, 160, 160, 3)]
    work = [noise(shapes[seed % len(shapes)], seed) for seed in range(300)]
    with ThreadPoolExecutor(8) as pool:
        for files, images in zip(pool.map(png.encode, work), work, strict=True):
            for file, image in zip(files, images, strict=True):
                assert np.array_equal(by_pillow(file), image)


def test_what_is_too_long_for_one_chunk_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "LONGEST_CHUNK", 1000)
    image = noise((40, 40, 3), 1)
    (file,) = png.encode(image[np.newaxis])
    lengths = [len(content) for kind, content in chunks(file) if kind == b"IDAT"]
    assert len(lengths) == 5
    assert all(before == 1000 for before, _ in pairwise(lengths))
    assert np.array_equal(by_pillow(file), image)
    assert np.array_equal(by_pypng(file), image)
