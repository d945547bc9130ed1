"""What a user does: images, training, export, evaluation, a running server, pictures."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.shelf import Generator, Shelf
from tests.digits import digits, write_digits
from tests.service.server import Server, running

GANSERVE = Path(sys.executable).with_name("ganserve")


def ganserve(*arguments: object) -> str:
    command = [str(GANSERVE), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("journey")
    write_digits(folder / "digits")
    cache, run, models = (
        ("--cache", folder / "cache"),
        ("--run", folder / "run"),
        ("--models", folder / "models"),
    )
    ganserve(
        "train", folder / "digits", *run, *cache,
        "--resolution", 16, "--images", 1_600, "--snapshot", 800, "--learning-rate", 0.002, "--warmup", 320,
    )  # fmt: skip
    ganserve("export", *run, *models, "--license", "bsd-3-clause")
    ganserve(
        "evaluate", "digits", "--data", folder / "digits", *models, *cache,
        "--images", 500, "--presentations", 5_000,
    )  # fmt: skip
    return Shelf(folder / "models").find("digits")


@pytest.fixture(scope="module")
def server(generator: Generator) -> Iterator[Server]:
    with running(generator.path.parents[2]) as server:
        yield server


@pytest.fixture(scope="module")
def images(server: Server) -> NDArray[np.uint8]:
    """64 images of each digit, [10, 64, 16, 16]."""
    with server.client() as client:
        answers = [
            client.post("/generate", json={"n": 64, "seed": 1, "label": str(number), "format": "npz"})
            for number in range(10)
        ]
    return np.stack([np.load(io.BytesIO(answer.content))["images"][..., 0] for answer in answers])


def test_the_version_stands_on_the_shelf_with_its_evidence(generator: Generator) -> None:
    assert {path.name for path in generator.path.parent.iterdir()} == {
        "evaluation-classes.png",
        "evaluation-closest.png",
        "evaluation-mixtures.png",
        "evaluation.json",
        "model.onnx",
        "model.onnx.sha256",
        "samples.png",
    }
    assert "CAS" in (generator.path.parents[1] / "README.md").read_text()


def test_a_picture_by_http(server: Server) -> None:
    answer = httpx.post(f"{server.url}/generate", json={"seed": 1, "label": "3"})
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (16, 16)
        assert image.mode == "L"


# In a process of its own: importing BentoML warns about the versions of others.
CLIENT = """
import shutil, sys, bentoml
url, picture = sys.argv[1:]
with bentoml.SyncHTTPClient(url) as client:
    shutil.copy(client.generate(seed=1, label="3"), picture)
"""


def test_a_picture_by_bentomls_client(server: Server, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    subprocess.run([sys.executable, "-c", CLIENT, server.url, picture], check=True)
    direct = httpx.post(f"{server.url}/generate", json={"seed": 1, "label": "3"})
    with Image.open(picture) as saved, Image.open(io.BytesIO(direct.content)) as same:
        assert saved.tobytes() == same.tobytes()


def test_the_headers_name_what_was_exported(server: Server, generator: Generator) -> None:
    answer = httpx.post(f"{server.url}/generate", json={"seed": 1})
    assert answer.headers["ganserve-model"] == generator.reference
    assert answer.headers["ganserve-digest"] == generator.digest


def test_pictures_are_varied(images: NDArray[np.uint8]) -> None:
    assert (images.std(axis=(2, 3)) > 20).all()
    assert (images.std(axis=1).mean(axis=(1, 2)) > 5).all()


def test_labels_draw_their_digits(images: NDArray[np.uint8]) -> None:
    real, labels = digits()
    real = real.repeat(2, 1).repeat(2, 2)
    means = np.stack([real[labels == number].mean(axis=0) for number in range(10)]).reshape(10, -1)
    drawn = images.mean(axis=1).reshape(10, -1)
    resemblance = np.corrcoef(drawn, means)[:10, 10:]
    # of ten digits, one would be its own class's likeness by chance
    assert (resemblance.argmax(axis=1) == np.arange(10)).sum() >= 7
