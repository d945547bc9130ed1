"""The running server, as its clients see it."""

import base64
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.shelf import Shelf
from service.latents import classes, latents, words
from tests.service.server import Server, running

MODEL = "convolutional"


def generate(client: httpx.Client, **fields: object) -> httpx.Response:
    answer = client.post("/generate", json={"model": MODEL, **fields})
    assert answer.status_code == 200, answer.text
    return answer


def arrays(client: httpx.Client, **fields: object) -> dict[str, Any]:
    return unpacked(generate(client, **fields, format="npz").content)


def unpacked(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def pixels(content: bytes) -> Any:
    return np.asarray(picture(content))


def test_an_image_is_what_the_graph_gives_for_its_address(client: httpx.Client, shelf: Shelf) -> None:
    generator = shelf.find(MODEL)
    drawn = words(7, 100, 3, generator.contract.latent.dim)
    feeds = {"latent": latents(drawn, "normal"), "label": np.eye(3, dtype=np.float32)[classes(drawn, 3)]}
    [expected] = onnxruntime.InferenceSession(generator.path).run(None, feeds)
    got = arrays(client, seed=7, index=100, n=3)
    assert np.array_equal(got["images"], expected)
    assert np.array_equal(got["labels"], classes(drawn, 3))
    assert got["indices"].tolist() == [100, 101, 102]
    assert expected.std() > 20


@pytest.fixture(scope="module")
def reference(client: httpx.Client) -> dict[str, Any]:
    """Images 0 to 255 of seed 7 with one request."""
    return arrays(client, seed=7, n=256)


def assert_same(got: dict[str, Any], reference: dict[str, Any]) -> None:
    at = got["indices"]
    assert got["images"].tobytes() == reference["images"][at].tobytes()
    assert got["labels"].tobytes() == reference["labels"][at].tobytes()


def test_the_same_bytes_alone_and_in_every_batch(client: httpx.Client, reference: dict[str, Any]) -> None:
    for index in (0, 1, 63, 64, 200, 255):
        assert_same(arrays(client, seed=7, index=index), reference)
    for index, n in ((0, 64), (17, 64), (0, 2), (250, 3), (100, 33)):
        assert_same(arrays(client, seed=7, index=index, n=n), reference)
    assert len({image.tobytes() for image in reference["images"]}) == 256


def test_the_same_bytes_while_fifty_others_call(client: httpx.Client, reference: dict[str, Any]) -> None:
    start = threading.Barrier(50)

    def call(number: int) -> None:
        random = np.random.default_rng(number)
        start.wait(30)
        for _ in range(4):
            n = 100 if number == 0 else int(random.choice([1, 1, 5, 18]))
            index = int(random.integers(0, 257 - n))
            assert_same(arrays(client, seed=7, index=index, n=n), reference)

    with ThreadPoolExecutor(50) as callers:
        list(callers.map(call, range(50)))


def test_the_same_bytes_after_a_restart_with_other_settings(shelf: Shelf, reference: dict[str, Any]) -> None:
    with running(shelf.root, max_batch=10, threads=1) as server, server.client() as client:
        assert_same(arrays(client, seed=7, n=64), reference)
        assert_same(arrays(client, seed=7, index=77), reference)
        # Whoever asks for a picture gets the same file, too.
        assert len({generate(client, seed=7, n=5).content for _ in range(2)}) == 1


def test_a_named_class_keeps_the_latent(client: httpx.Client, reference: dict[str, Any]) -> None:
    drawn = [int(label) for label in reference["labels"][:5]]
    assert_same(arrays(client, seed=7, n=5, label=drawn), reference)
    assert_same(arrays(client, seed=7, n=5, label=["abc"[label] for label in drawn]), reference)
    same_class = arrays(client, seed=7, n=5, label="b")
    assert same_class["labels"].tolist() == [1] * 5
    assert not np.array_equal(same_class["images"], reference["images"][:5])


def test_latents_give_what_their_seed_gives(client: httpx.Client, reference: dict[str, Any]) -> None:
    z = latents(words(7, 0, 3, 16), "normal")
    answer = generate(client, latents=z.tolist(), label=reference["labels"][:3].tolist(), format="npz")
    assert np.array_equal(unpacked(answer.content)["images"], reference["images"][:3])
    assert "Ganserve-Seed" not in answer.headers


def test_truncation_reaches_the_graph(client: httpx.Client) -> None:
    free = arrays(client, seed=7, n=64, label=0)["images"].astype(int)
    truncated = arrays(client, seed=7, n=64, label=0, truncation=0.1)["images"].astype(int)
    assert truncated.std(axis=0).mean() < free.std(axis=0).mean() / 2
    grey = arrays(client, model="grey", seed=7, n=64, truncation=0.01)["images"].astype(int)
    assert (
        grey.std(axis=0).mean() < arrays(client, model="grey", seed=7, n=64)["images"].std(axis=0).mean() / 2
    )


def test_one_image_is_a_png_that_says_where_it_comes_from(client: httpx.Client, shelf: Shelf) -> None:
    answer = generate(client, seed=7, index=3)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["Ganserve-Model"] == "convolutional:1"
    assert answer.headers["Ganserve-Digest"] == shelf.find(MODEL).digest
    assert answer.headers["Ganserve-Seed"] == "7"
    assert answer.headers["Ganserve-Index"] == "3"
    assert 'filename="convolutional-1-seed-7-index-3.png"' in answer.headers["Content-Disposition"]
    read = picture(answer.content)
    assert (read.format, read.mode, read.size) == ("PNG", "RGB", (16, 16))
    assert np.array_equal(np.asarray(read), arrays(client, seed=7, index=3)["images"][0])


def test_an_absent_seed_is_drawn_and_told(client: httpx.Client) -> None:
    first, second = generate(client), generate(client)
    seeds = [int(answer.headers["Ganserve-Seed"]) for answer in (first, second)]
    assert seeds[0] != seeds[1]
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert generate(client, seed=seeds[0]).content == first.content


def test_an_empty_body_leaves_everything_out(client: httpx.Client) -> None:
    answer = client.post("/generate")
    # Two names are on this shelf.
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "model"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("text/html, image/jpeg;q=0.5, application/*;q=0.1", "image/jpeg"),
        ("image/*;q=0.5, application/zip", "application/zip"),
        ("application/json", "application/json"),
        ("application/x-npz", "application/x-npz"),
    ],
)
def test_the_answer_follows_accept(client: httpx.Client, accept: str, media_type: str) -> None:
    answer = client.post("/generate", json={"model": MODEL}, headers={"Accept": accept})
    assert answer.headers["content-type"] == media_type


def test_several_lines_of_accept_are_one_list(client: httpx.Client) -> None:
    lines = [("Accept", "text/html"), ("Accept", "image/webp")]
    answer = client.post("/generate", json={"model": MODEL}, headers=lines)
    assert answer.headers["content-type"] == "image/webp"


def test_format_goes_before_accept(client: httpx.Client) -> None:
    request = {"model": MODEL, "format": "webp"}
    answer = client.post("/generate", json=request, headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
def test_several_images_are_a_contact_sheet(
    client: httpx.Client, form: str, reference: dict[str, Any]
) -> None:
    sheet = pixels(generate(client, seed=7, n=5, format=form).content)
    assert sheet.shape == (32, 48, 3)
    if form == "png":
        assert np.array_equal(sheet[:16, 16:32], reference["images"][1])
        assert np.array_equal(sheet[16:, :16], reference["images"][3])


def test_zip(client: httpx.Client, reference: dict[str, Any]) -> None:
    content = generate(client, seed=7, index=2, n=3, format="zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        assert [line["index"] for line in lines] == [2, 3, 4]
        for line in lines:
            assert line["label"] == "abc"[reference["labels"][line["index"]]]
            assert np.array_equal(pixels(archive.read(line["file"])), reference["images"][line["index"]])


def test_json(client: httpx.Client, reference: dict[str, Any]) -> None:
    document = generate(client, seed=7, n=2, format="application/json").json()
    for index, image in enumerate(document["images"]):
        assert (image["seed"], image["index"]) == (7, index)
        assert image["label"] == "abc"[reference["labels"][index]]
        assert np.array_equal(pixels(base64.b64decode(image["image"])), reference["images"][index])


def test_a_generator_is_called_by_name_or_by_version(client: httpx.Client) -> None:
    def called(model: str) -> str:
        return generate(client, model=model).headers["Ganserve-Model"]

    assert called("grey") == "grey:2"
    assert called("grey:1") == "grey:1"


def test_models_lists_the_shelf(client: httpx.Client, shelf: Shelf) -> None:
    listed = client.get("/models").json()["models"]
    assert [one["model"] for one in listed] == ["convolutional:1", "grey:2", "grey:1"]
    for one, generator in zip(listed, shelf.list(), strict=True):
        assert one["digest"] == generator.digest
        assert one["contract"] == json.loads(generator.contract.model_dump_json())


BENTOML_SCRIPT = """
import shutil, sys, bentoml

url, folder = sys.argv[1:]
with bentoml.SyncHTTPClient(url) as client:
    shutil.copy(client.generate(model="convolutional", n=4, seed=7, format="npz"), folder)
    shutil.copy(client.generate(model="convolutional", seed=7, index=1, label=["a"]), folder)
    try:
        client.generate(n=257)
    except bentoml.exceptions.BentoMLException as error:
        print(error)
"""


def test_bentomls_client_gets_files(server: Server, reference: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-c", BENTOML_SCRIPT, server.url, str(tmp_path)]
    script = subprocess.run(command, capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stderr
    assert "n is 257, expected an integer from 1 to 256" in script.stdout
    [arrays] = tmp_path.glob("*convolutional-1-seed-7-index-0.npz")
    assert_same(unpacked(arrays.read_bytes()), reference)
    [image] = tmp_path.glob("*convolutional-1-seed-7-index-1.png")
    assert pixels(image.read_bytes()).shape == (16, 16, 3)


def test_a_browser_gets_a_page_that_asks_nobody_else(client: httpx.Client) -> None:
    page = client.get("/", headers={"Range": "bytes=99999-"})  # a page has no parts
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>Ganserve</title>" in page.text
    assert "//" not in page.text.replace("</", "")
    linked = re.findall(r'href="([^":]+)"', page.text)
    assert linked
    assert {client.get(f"/{path}").status_code for path in linked} == {200}


def test_every_field_is_documented(client: httpx.Client) -> None:
    operation = client.get("/docs.json").json()["paths"]["/generate"]["post"]
    assert "image/png" in operation["description"]
    properties = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(properties) == {
        "model",
        "n",
        "seed",
        "index",
        "label",
        "truncation",
        "latents",
        "format",
    }
    assert all(one["description"] for one in properties.values())
    assert (properties["n"]["minimum"], properties["n"]["maximum"]) == (1, 256)


def test_bentomls_probes(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/healthz"):
        assert client.get(path).status_code == 200
