"""What servers are asked, and how the images are read from their answers, to see that they did the work."""

import base64
import io
import json
import struct
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.serving.failures import WrongAnswer

Images = npt.NDArray[np.uint8]

BATCH = 64


@dataclass(frozen=True)
class Question:
    """A POST of `body`, with SEED and LABEL where requests differ, that is answered with n images.

    `read` takes the body and the headers of the answer and gives uint8 [n, height, width, channels].
    """

    path: str
    body: str
    n: int
    read: Callable[[bytes, Mapping[str, str]], Images]

    def check(self, url: str, height: int, width: int, channels: int) -> None:
        """Ask twice, and see that the images are of that shape and differ.

        Raises WrongAnswer.
        """
        try:
            first, second = self._ask(url, 1), self._ask(url, 2)
        except (OSError, ValueError, KeyError) as error:
            raise WrongAnswer(f"{self.path}: {type(error).__name__} {error}") from None
        expected = (self.n, height, width, channels)
        if first.shape != expected or first.dtype != np.uint8:
            raise WrongAnswer(f"{self.path}: images {first.dtype} {first.shape}, expected uint8 {expected}")
        if np.array_equal(first, second):
            raise WrongAnswer(f"{self.path}: the same images for another seed")

    def _ask(self, url: str, seed: int) -> Images:
        body = self.body.replace("SEED", str(seed)).replace("LABEL", str(seed % 10)).encode()
        request = urllib.request.Request(  # noqa: S310 - a URL of our own making
            url + self.path, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
            return self.read(answer.read(), answer.headers)


def png(body: bytes, _: Mapping[str, str]) -> Images:
    image = np.asarray(Image.open(io.BytesIO(body), formats=["PNG"]))
    return image.reshape(1, *image.shape[:2], -1)


def png_in_json(body: bytes, headers: Mapping[str, str]) -> Images:
    (encoded,) = json.loads(body)
    return png(base64.b64decode(encoded), headers)


def npy(body: bytes, _: Mapping[str, str]) -> Images:
    images: Images = np.load(io.BytesIO(body))
    return images


def npz(body: bytes, _: Mapping[str, str]) -> Images:
    with np.load(io.BytesIO(body)) as arrays:
        images: Images = arrays["images"]
    return images


def kserve_png(body: bytes, headers: Mapping[str, str]) -> Images:
    """A tensor of one BYTES element: its length in four bytes, then the picture."""
    _, tensor = _kserve(body, headers)
    (length,) = struct.unpack("<I", tensor[:4])
    return png(tensor[4 : 4 + length], headers)


def kserve_array(body: bytes, headers: Mapping[str, str]) -> Images:
    shape, tensor = _kserve(body, headers)
    return np.frombuffer(tensor, np.uint8).reshape(shape)


def kserve_body(output: str, inputs: Mapping[str, str], shape: list[int]) -> str:
    """A request of the KServe protocol, version 2, with INT64 inputs of that shape and a binary output."""
    tensors = ", ".join(
        f'{{"name": "{name}", "shape": {shape}, "datatype": "INT64", "data": [{value}]}}'
        for name, value in inputs.items()
    )
    outputs = f'{{"name": "{output}", "parameters": {{"binary_data": true}}}}'
    return f'{{"inputs": [{tensors}], "outputs": [{outputs}]}}'


def _kserve(body: bytes, headers: Mapping[str, str]) -> tuple[list[int], bytes]:
    length = int(headers["Inference-Header-Content-Length"])
    (output,) = json.loads(body[:length])["outputs"]
    return output["shape"], body[length:]
