"""Starts that end in one line, and what a start does not do."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.shelf import Shelf
from service.cuda import TensorRT, obstacle
from service.settings import Settings
from service.start import catalogue_of, read_settings
from tests.generators import tiny_generator
from tests.service.devices import without_tensorrt
from tests.service.generators import unsupported_generator
from tests.service.server import PATIENCE, ROOT, Server, is_ready, started


@dataclass(frozen=True)
class Ended:
    status: int
    output: str


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """How starts end that cannot succeed, all at once since each takes seconds."""
    folder = tmp_path_factory.mktemp("starts")
    for name in ("fine", "damaged", "unsupported"):
        model = unsupported_generator() if name == "unsupported" else tiny_generator()
        generator = Shelf(folder / name).place(model)
        if name == "damaged":
            generator.path.write_bytes(generator.path.read_bytes()[:-1])
    starts: dict[str, tuple[str, dict[str, Any]]] = {
        "damaged": ("damaged", {}),
        "setting": ("fine", {"max_batch": 0}),
        "unsupported": ("unsupported", {"processes": 3}),
    }
    if obstacle(TensorRT()):
        starts["tensorrt"] = ("fine", {"device": "tensorrt"})
    with ExitStack() as servers:
        processes = {
            name: servers.enter_context(started(folder / shelf, folder / f"{name}.log", folder, **settings))[
                0
            ]
            for name, (shelf, settings) in starts.items()
        }
        ended = {
            name: Ended(process.wait(PATIENCE), (folder / f"{name}.log").read_text())
            for name, process in processes.items()
        }
    assert not list(folder.glob("ganserve-*")), "what the processes shared is left"
    return ended


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("damaged", "damaged/tiny/1/model.onnx: its SHA-256 is "),
        ("setting", "GANSERVE_MAX_BATCH is '0': Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_served_ends_the_start_in_one_line(
    ended: dict[str, Ended], name: str, line: str
) -> None:
    [printed] = ended[name].output.splitlines()
    assert printed.startswith("ganserve: ")
    assert line in printed
    assert ended[name].status == 1


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("unsupported", "unsupported/1/model.onnx: ONNX Runtime cannot load it on the CPU "),
        pytest.param("tensorrt", "GANSERVE_DEVICE is 'tensorrt', but ", marks=without_tensorrt),
    ],
)
def test_a_device_or_generator_that_does_not_work_ends_the_service(
    name: str, what: str, ended: dict[str, Ended]
) -> None:
    [line] = [line for line in ended[name].output.splitlines() if "ganserve: " in line]
    assert "CRITICAL" in line
    assert what in line
    assert "Traceback" not in ended[name].output
    assert ended[name].status == 1


def test_a_fine_start_prints_no_warning_and_sends_nothing(server: Server, client: httpx.Client) -> None:
    assert is_ready(client)
    # What comes after is of requests, and of those that other tests sent.
    log, ready, _ = server.log.read_text().partition("Ready: convolutional:1, grey:2, grey:1\n")
    assert ready
    assert log.count("Computing on ") == 1
    assert "WARNING" not in log
    assert "Tracking Payload" not in log


def test_importing_the_service_loads_no_runtime_and_turns_usage_statistics_off(shelf: Shelf) -> None:
    modules, tracked = imported(shelf)
    assert not tracked
    assert modules.isdisjoint({"onnxruntime", "scipy", "torch", "training"})


def test_usage_statistics_are_left_on_for_who_asks_for_them(shelf: Shelf) -> None:
    assert imported(shelf, BENTOML_DO_NOT_TRACK="False")[1]


IMPORT = """
import sys
from bentoml._internal.utils.analytics.usage_stats import do_not_track

do_not_track()  # as `bentoml serve` does before it imports a service
import service.service

print(do_not_track(), *sys.modules)
"""


def imported(shelf: Shelf, **environment: str) -> tuple[set[str], bool]:
    """What importing the service loads, as BentoML's supervisor does, and whether it is tracked."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        cwd=ROOT,
        env={"GANSERVE_MODELS": str(shelf.root), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    do_not_track, *modules = done.stdout.split()
    return set(modules), do_not_track == "False"


def test_an_empty_shelf_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^ganserve: no generator in .*; exp"):
        catalogue_of(tmp_path)


def test_a_missing_shelf_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^ganserve: .*/nowhere is not a folder"):
        catalogue_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_BATCH", "0"),
        ("QUEUE_ROWS", "255"),
        ("THREADS", "many"),
        ("BODY_LIMIT", "-1"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "nan"),
        ("TIMEOUT", "inf"),
        ("DEVICE", "gpu"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"GANSERVE_{name}", value)
    with pytest.raises(SystemExit, match=rf"^ganserve: GANSERVE_{name} is '{value}': Input should be .+$"):
        read_settings()


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSERVE_MODELS", "")
    assert read_settings().models == Path(ROOT, "models")


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("MODELS", str(tmp_path)), ("MAX_BATCH", "8"), ("TIMEOUT", "1.5")):
        monkeypatch.setenv(f"GANSERVE_{name}", value)
    settings = read_settings()
    assert (settings.models, settings.max_batch, settings.timeout) == (tmp_path, 8, 1.5)


def test_what_kubernetes_puts_into_the_environment_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSERVE_PORT", "tcp://10.0.0.1:3000")
    monkeypatch.setenv("GANSERVE_SERVICE_HOST", "10.0.0.1")
    assert not {"port", "service_host"} & set(read_settings().model_dump())


def test_the_default_shelf_is_that_of_the_checkout() -> None:
    assert Settings.model_fields["models"].default == Path(ROOT, "models")
