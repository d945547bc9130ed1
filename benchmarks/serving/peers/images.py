"""What each peer does for a request: latents with NumPy, images with ONNX Runtime, PNG with Pillow."""

import io
import os

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

Latents = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]


class Generator:
    """The exported generator of the environment variable MODEL, on THREADS threads."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )
        latent, label = self._session.get_inputs()
        self._dim = latent.shape[1]
        self._one_hot = np.eye(label.shape[1], dtype=np.float32)

    def latents(self, seed: int, n: int = 1) -> Latents:
        """Standard normal [n, dim]."""
        return np.random.default_rng(seed).standard_normal((n, self._dim), np.float32)

    def images(self, latents: Latents, labels: list[int]) -> Images:
        """The images of latents [n, dim] with as many labels: [n, height, width, channels]."""
        images: Images = self._session.run(["image"], {"latent": latents, "label": self._one_hot[labels]})[0]
        return images


def png(image: Images) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def npy(images: Images) -> bytes:
    file = io.BytesIO()
    np.save(file, images)
    return file.getvalue()
