"""Encoding speed and size of every format beside what Pillow, zipfile and NumPy do, on one core.

    python -m benchmarks.encoding

The images are two photographs, which scikit-learn ships. Times are of the processor, so that other work on
the machine does not count; the peers take turns, and the figure is the median of the rounds.
"""

import io
import platform
import statistics
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from service.archive import Buffer
from service.encoding import FORMATS, Generated
from service.rows import Images

SIDES = (32, 256, 1024)
ROUNDS, SECONDS = 9, 0.02  # of each peer in each round, and at least one call
AT_ONCE = 64
CLASSES = tuple(map(str, range(AT_ONCE)))

Encode = Callable[[Generated], list[Buffer]]


def photographs(side: int, channels: int) -> Images:
    """The middles of both: uint8 [2, side, side, channels]."""
    found = []
    for name in ("china.jpg", "flower.jpg"):
        whole = Image.fromarray(load_sample_image(name))
        left, top = (whole.width - whole.height) // 2, 0
        square = whole.crop((left, top, left + whole.height, whole.height))
        resized = square.resize((side, side), Image.Resampling.LANCZOS)
        found.append(np.asarray(resized.convert({1: "L", 3: "RGB"}[channels])))
    return np.stack(found).reshape(2, side, side, channels)


def generated(images: Images) -> Generated:
    numbers = np.arange(len(images))
    return Generated(images, 7, numbers, numbers, CLASSES, "photographs:1", "0" * 64)


def formats(*names: str) -> dict[str, Encode]:
    return {f"`{form.name}`": form.encode for form in FORMATS if form.name in names}


def pillow(image: Images, level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format="PNG", compress_level=level)
    return file.getvalue()


def png_of_pillow(level: int) -> Encode:
    return lambda made: [pillow(made.images[0], level)]


def zip_of_pillow(made: Generated) -> list[Buffer]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, image in enumerate(made.images):
            archive.writestr(f"{i:06d}.png", pillow(image, 1))
    return [file.getvalue()]


def savez(made: Generated) -> list[Buffer]:
    file = io.BytesIO()
    np.savez(file, images=made.images, labels=made.indices, indices=made.indices)
    return [file.getvalue()]


def measure(peers: dict[str, Encode], inputs: list[Generated]) -> dict[str, tuple[float, float]]:
    """Microseconds and bytes an input, of each peer."""
    calls, sizes = {}, {}
    for name, encode in peers.items():
        start = time.process_time()
        sizes[name] = statistics.mean(sum(map(len, encode(made))) for made in inputs)
        calls[name] = max(1, round(SECONDS / max(1e-6, time.process_time() - start)))
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, encode in peers.items():
            start = time.process_time()
            for _ in range(calls[name]):
                for made in inputs:
                    encode(made)
            times[name].append((time.process_time() - start) / calls[name] / len(inputs))
    return {name: (statistics.median(times[name]) * 1e6, sizes[name]) for name in peers}


def print_table(first: str, peers: dict[str, Encode], inputs: dict[str, list[Generated]]) -> None:
    """A row for each peer and each kind of input, beside the first of the peers."""
    print(f"\n| {first} | | microseconds | times as fast | bytes | ratio |\n|---|---|---|---|---|---|")
    for kind, several in inputs.items():
        measured = measure(peers, several)
        slow, large = next(iter(measured.values()))
        for name, (microseconds, size) in measured.items():
            speed, ratio = slow / microseconds, size / large
            print(f"| {kind} | {name} | {microseconds:,.0f} | {speed:.1f} | {size:,.0f} | {ratio:.2f} |")


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("isal", "numpy", "pillow"))
    print(f"{versions}, Python {platform.python_version()}, one core")
    one = {
        f"{side} x {side} {colour}": [generated(image[np.newaxis]) for image in photographs(side, channels)]
        for side in SIDES
        for colour, channels in (("grey", 1), ("RGB", 3))
    }
    print_table(
        "one image",
        {f"Pillow's PNG, level {level}": png_of_pillow(level) for level in (1, 6)}
        | formats("png", "webp", "webp-lossless", "jpeg"),
        one,
    )
    many = {
        f"{side} x {side} RGB": [generated(np.repeat(photographs(side, 3), AT_ONCE // 2, axis=0))]
        for side in SIDES[:2]
    }
    print_table(
        f"{AT_ONCE} images", {"zipfile, Pillow's level 1": zip_of_pillow} | formats("zip", "json"), many
    )
    print_table(f"{AT_ONCE} images", {"NumPy's savez": savez} | formats("npz"), many)


if __name__ == "__main__":
    main()
