import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training import curves
from training.monitor import Monitor
from training.progress import Progress
from training.run import CURVES_FILE, LOG_FILE
from training.stopping import Measurement

LOSSES = {"discriminator": 0.5, "generator": 0.75, "r1": 0.1, "r2": 0.2}


def entries(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


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
    with (tmp_path / LOG_FILE).open("ab") as file:
        # what a power cut, and a kill in the middle of a line, may leave
        file.write(b'\0\0\n\n\xff\n[1]\n7\n{}\n{"images_seen": "many"}\n{"images_seen": 400, "disc')
    with Monitor(tmp_path, 200, 300) as monitor:
        monitor.record(300, LOSSES | {"generator": 0.5})
    assert [(entry["images_seen"], entry["generator"]) for entry in entries(tmp_path)] == [
        (100, 0.75), (200, 0.75), (300, 0.5),
    ]  # fmt: skip


def test_a_return_that_is_not_saved_is_made_and_logged_again(tmp_path: Path) -> None:
    least = Measurement(100, 1.0, 1.0, 1.0, 1.0, None, 0.5, 0.5, {})
    with Monitor(tmp_path, 0, 400) as monitor:
        for seen, returns in ((200, 1), (300, 2)):
            monitor.record(seen, LOSSES)
            monitor.returned(Progress(images_seen=seen, returns=returns), "no recall", least)
    with Monitor(tmp_path, 300, 400, returned_at=200):
        pass
    assert [entry.get("returned_to", entry["images_seen"]) for entry in entries(tmp_path)] == [200, 100, 300]


def test_what_a_killed_run_had_begun_to_write_is_removed_and_nothing_else(tmp_path: Path) -> None:
    begun = ("checkpoint.pt", "best.pt", "classifier.pt", "log.jsonl", "curves.png", "run.json")
    ours = [*(f"{name}.part" for name in begun), "samples/000000100.png.part", "samples/000000200.png"]
    others = ["film.mkv.part", "other/checkpoint.pt.part", "samples/cat.png.part", "samples/000000100.png"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.part").mkdir()
    with Monitor(tmp_path, 100, 300):
        assert not any((tmp_path / name).exists() for name in ours)
        assert all((tmp_path / name).exists() for name in (*others, "folder.part"))


def test_in_the_end_the_curves_are_those_of_the_whole_log(tmp_path: Path) -> None:
    with Monitor(tmp_path, 0, 200) as monitor:
        for seen in (100, 200):
            monitor.record(seen, LOSSES)
            monitor.show(seen, np.zeros((16, 16, 1), np.uint8))
    curves.draw(tmp_path / LOG_FILE, tmp_path / "expected.png")
    assert (tmp_path / CURVES_FILE).read_bytes() == (tmp_path / "expected.png").read_bytes()


@pytest.mark.parametrize("log", [None, "", '{"images_seen": 100}\n'])
def test_a_run_that_ends_before_its_first_line_has_no_curves(log: str | None, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / LOG_FILE).write_text(log)
    with Monitor(tmp_path, 0, 200):
        pass
    assert not (tmp_path / CURVES_FILE).exists()


@pytest.mark.parametrize(("interval", "drawn"), [(0, True), (math.inf, False)])
def test_curves_are_drawn_again_when_the_last_are_old(
    interval: float, drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.monitor.CURVES_INTERVAL", interval)
    with Monitor(tmp_path, 0, 200) as monitor:
        monitor.record(100, LOSSES)
        monitor.show(100, np.zeros((16, 16, 1), np.uint8))
        assert (tmp_path / CURVES_FILE).exists() == drawn


def test_the_bar_shows_images_speed_time_left_and_both_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Monitor(tmp_path, 0, 200) as monitor:
        monitor.record(100, LOSSES)
        monitor.advance(100)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("100/200", "img/s", "<", "D=0.500", "G=0.750"))


def measurement(images_seen: int, distance: float, least_class: str | None = "sandal") -> Measurement:
    return Measurement(images_seen, distance, 0.5, 0.8, 0.61, least_class, 0.7, 0.76, {})


def test_what_was_measured_is_told_in_a_line_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, later = measurement(10_000, 1.2345), measurement(20_000, 2.0, None)
    with Monitor(tmp_path, 0, 20_000) as monitor:
        for now in (best, later):
            monitor.record(now.images_seen, LOSSES | asdict(now))
            monitor.tell(now, best)
        monitor.returned(Progress(20_000, returns=1), "it broke", best)
    told = capsys.readouterr().err
    for line in (
        (
            "10,000 images: distance 1.23 (the best), recall 50%, variety 80%, sandal 61%, accuracy 70% "
            "(76% on images that it has seen)"
        ),
        "20,000 images: distance 2 (best 1.23 at 10,000), recall 50%, variety 80%, accuracy 70%",
        "20,000 images: it broke; back to the best state, of 10,000 images, at 0.5 times the learning rate",
    ):
        assert line in told
    logged = entries(tmp_path)
    assert logged[0]["distance"] == 1.2345
    assert logged[2] == {
        "images_seen": 20_000, "returned_to": 10_000, "because": "it broke", "learning_rate_share": 0.5,
    }  # fmt: skip
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.value for event in board.Scalars("distance")] == pytest.approx([1.2345, 2.0])
