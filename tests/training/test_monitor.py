import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.monitor import LOG, Monitor, sample_grid, write_picture

LOSSES = {"discriminator": 0.5, "generator": 0.75, "r1": 0.1, "r2": 0.2}


def entries(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_records_are_json_lines_and_tensorboard_scalars(tmp_path: Path) -> None:
    with Monitor(tmp_path, 0, 200) as monitor:
        for seen in (100, 200):
            monitor.advance(100)
            monitor.record(seen, LOSSES)
    assert [entry["images_seen"] for entry in entries(tmp_path)] == [100, 200]
    assert LOSSES.items() <= entries(tmp_path)[0].items()
    assert entries(tmp_path)[0]["images_per_second"] > 0
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("generator")] == [(100, 0.75), (200, 0.75)]


def test_what_a_resumed_run_replays_is_logged_once(tmp_path: Path) -> None:
    with Monitor(tmp_path, 0, 300) as monitor:
        for seen in (100, 200, 300):
            monitor.record(seen, LOSSES)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"images_seen": 400, "disc')  # a kill in the middle of a line
    with Monitor(tmp_path, 200, 300) as monitor:
        monitor.record(300, LOSSES | {"generator": 0.5})
    assert [(entry["images_seen"], entry["generator"]) for entry in entries(tmp_path)] == [
        (100, 0.75), (200, 0.75), (300, 0.5),
    ]  # fmt: skip


def test_the_bar_shows_images_speed_time_left_and_both_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Monitor(tmp_path, 0, 200) as monitor:
        monitor.record(100, LOSSES)
        monitor.advance(100)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("100/200", "img/s", "<", "D=0.500", "G=0.750"))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_each_image_in_its_place(tmp_path: Path, channels: int) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(5, 2).repeat(channels, 3)
    write_picture(tmp_path / "grid.png", sample_grid(images, columns=3))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (15, 8)
        assert picture.mode == ("L" if channels == 1 else "RGB")
        centres = np.asarray(picture).reshape(8, 15, channels)[2::4, 2::5, 0]
    assert centres.tolist() == [[0, 1, 2], [3, 4, 5]]
