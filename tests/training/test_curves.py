import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.curves import draw

NAMES = ("discriminator", "generator", "distance", "recall", "variety", "least_variety", "accuracy",
         "accuracy_on_seen")  # fmt: skip


def picture(folder: Path, entries: list[dict[str, Any]]) -> NDArray[np.uint8]:
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    draw(log, folder / "curves.png")
    with Image.open(folder / "curves.png") as image:
        return np.asarray(image.convert("RGB"))


def run(**last: float) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"images_seen": 1000 * number, "least_class": "3"}
        | {name: 0.4 + 0.1 * ((number + place) % 4) for place, name in enumerate(NAMES)}
        for number in range(1, 6)
    ]
    entries[-1] |= last
    return entries


def changed(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> set[tuple[str, str]]:
    """The panels in which two pictures differ."""
    rows, columns = np.nonzero((one != other).any(axis=2))
    height, width = one.shape[:2]
    vertical = np.where(rows < height / 2, "top", "bottom")
    horizontal = np.where(columns < width / 2, "left", "right")
    return set(zip(vertical.tolist(), horizontal.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "panel"),
    [
        ("discriminator", ("top", "left")),
        ("generator", ("top", "left")),
        ("distance", ("top", "right")),
        ("recall", ("bottom", "left")),
        ("variety", ("bottom", "left")),
        ("least_variety", ("bottom", "left")),
        ("accuracy", ("bottom", "right")),
        ("accuracy_on_seen", ("bottom", "right")),
    ],
)
def test_each_curve_is_in_its_panel(name: str, panel: tuple[str, str], tmp_path: Path) -> None:
    assert changed(picture(tmp_path, run()), picture(tmp_path, run(**{name: 0.95}))) == {panel}


def test_a_return_to_the_best_shows_in_every_panel(tmp_path: Path) -> None:
    returned = [*run(), {"images_seen": 3500, "returned_to": 1000}]
    assert len(changed(picture(tmp_path, run()), picture(tmp_path, returned))) == 4


def test_far_distances_and_logs_without_measures_are_drawn(tmp_path: Path) -> None:
    bare = [{"images_seen": 1000, "discriminator": 0.5, "generator": 1.0}]
    far = picture(tmp_path, run(distance=4000.0))
    assert changed(picture(tmp_path, bare), far)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "curves.png"}
