"""The bento: built, looked into, and served."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from PIL import Image

from models.shelf import Shelf
from tests.generators import tiny_generator
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BENTOML = Path(sys.executable).with_name("bentoml")
# A name that the checkout does not have: what answers to it is served from the bento.
NAME = "only-in-the-bento"


class Bento(NamedTuple):
    tag: str
    path: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("models", "service", "training", "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bentofile.yaml", "constraints.txt", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, checkout / name)
    Shelf(checkout / "models").place(tiny_generator(NAME))

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GANSERVE_")}
    environment |= {
        "BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml")),
        "BENTOML_DO_NOT_TRACK": "True",
        "PATH": f"{BENTOML.parent}{os.pathsep}{environment['PATH']}",
    }
    built = subprocess.run(
        [BENTOML, "build", "--output", "tag"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [tag] = re.findall(r"__tag__:(\S+)", built.stdout)
    return Bento(tag, Path(environment["BENTOML_HOME"], "bentos", *tag.split(":")), environment)


def test_the_bento_carries_service_and_models_and_nothing_else(bento: Bento) -> None:
    source = bento.path / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in files} == {
        "bentofile.yaml",
        "constraints.txt",
        "models",
        "service",
    }
    assert {f"models/{NAME}/1/model.onnx", f"models/{NAME}/1/model.onnx.sha256"} <= files
    for room in ("models", "service"):
        assert {f"{room}/{path.name}" for path in (ROOT / room).glob("*.py")} <= files
    shipped = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("models/*/*/model.onnx")}
    assert shipped <= files


def pins(requirements: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", requirements, re.MULTILINE))


def test_the_bento_installs_what_serving_needs_as_pinned(bento: Bento) -> None:
    python = bento.path / "env" / "python"
    installed = pins((python / "requirements.txt").read_text())
    assert installed.items() <= pins((ROOT / "constraints.txt").read_text()).items()
    assert installed.keys().isdisjoint({"torch", "datasets", "pytest", "onnxruntime-gpu"})

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    serving = {
        re.split(r"[^a-z0-9-]", requirement)[0]
        for requirement in (*project["dependencies"], *extras["serve"], *extras["cpu"])
    }
    assert serving <= installed.keys()
    named = re.findall(r"^[a-z0-9-]+$", (python / "requirements.in").read_text(), re.MULTILINE)
    assert set(named) == serving


@contextlib.contextmanager
def served(bento: Bento, folder: Path) -> Iterator[httpx.Client]:
    port = free_port()
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [BENTOML, "serve", bento.tag, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=bento.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 60
            while not is_ready(client):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_bento_serves(bento: Bento, tmp_path: Path) -> None:
    with served(bento, tmp_path) as client:
        request = {"model": NAME, "seed": 7, "n": 2, "label": ["a", "c"], "format": "npz"}
        answer = client.post("/generate", json=request)
        picture = client.post("/generate", json={"model": NAME, "seed": 7, "label": "a"})
    assert answer.status_code == 200, answer.text
    arrays = np.load(io.BytesIO(answer.content))
    assert arrays["images"].shape == (2, 16, 16, 3)
    dark, bright = arrays["images"]
    assert bright.mean() - dark.mean() > 64
    assert picture.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), dark)
