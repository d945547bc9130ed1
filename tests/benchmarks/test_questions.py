import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.serving.failures import WrongAnswer
from benchmarks.serving.questions import Question, kserve_array, kserve_body, kserve_png, npz, png
from benchmarks.serving.servers import SERVERS, Server
from tests.benchmarks.answers import Answer, answering


def a_png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (32, 16), grey).save(file, "PNG")
    return file.getvalue()


def in_kserve(tensor: bytes, shape: list[int]) -> Answer:
    header = json.dumps({"outputs": [{"name": "it", "shape": shape}]}).encode()
    return Answer(header + tensor, headers={"Inference-Header-Content-Length": str(len(header))})


ONE = Question("/", '{"seed": SEED, "label": LABEL}', 1, png)


def test_different_images_of_the_right_shape_are_right() -> None:
    with answering(Answer(a_png(1)), Answer(a_png(2))) as (url, received):
        ONE.check(url, 16, 32, 1)
    assert [json.loads(body) for body in received] == [{"seed": 1, "label": 1}, {"seed": 2, "label": 2}]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Answer(a_png(1))], "the same images for another seed"),
        ([Answer(b"GIF89a")], "cannot identify image file"),
        ([Answer(b"no", 503)], "503"),
    ],
)
def test_other_answers_are_wrong(answers: list[Answer], reason: str) -> None:
    with answering(*answers) as (url, _), pytest.raises(WrongAnswer, match=reason):
        ONE.check(url, 16, 32, 1)


def test_another_shape_is_wrong() -> None:
    with (
        answering(Answer(a_png(1)), Answer(a_png(2))) as (url, _),
        pytest.raises(WrongAnswer, match=r"images uint8 \(1, 16, 32, 1\), expected uint8 \(1, 32, 32, 1\)"),
    ):
        ONE.check(url, 32, 32, 1)


def test_arrays_come_out_of_an_npz_file() -> None:
    images = np.arange(48, dtype=np.uint8).reshape(2, 4, 2, 3)
    file = io.BytesIO()
    np.savez(file, images=images, labels=np.zeros(2))
    np.testing.assert_array_equal(npz(file.getvalue(), {}), images)


def test_kserve_tensors_are_read() -> None:
    picture = a_png(7)
    answer = in_kserve(len(picture).to_bytes(4, "little") + picture, [1, 1])
    np.testing.assert_array_equal(kserve_png(answer.body, answer.headers), np.full((1, 16, 32, 1), 7))
    answer = in_kserve(bytes(range(12)), [2, 1, 2, 3])
    np.testing.assert_array_equal(
        kserve_array(answer.body, answer.headers), np.arange(12).reshape(2, 1, 2, 3)
    )


def test_a_kserve_request_names_its_tensors() -> None:
    body = kserve_body("png", {"seed": "5", "label": "3"}, [1, 1])
    assert json.loads(body) == {
        "inputs": [
            {"name": "seed", "shape": [1, 1], "datatype": "INT64", "data": [5]},
            {"name": "label", "shape": [1, 1], "datatype": "INT64", "data": [3]},
        ],
        "outputs": [{"name": "png", "parameters": {"binary_data": True}}],
    }


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_every_server_is_asked_with_json(server: Server) -> None:
    for question in (server.picture, server.arrays):
        json.loads(question.body.replace("SEED", "1").replace("LABEL", "2"))
