"""Triton through PyTriton, with its dynamic batcher for pictures; an array request is a batch by itself."""

import sys

import numpy as np
import numpy.typing as npt
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.proxy.types import Request
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.peers.images import Generator, Images, png

Numbers = npt.NDArray[np.int64]

generator = Generator()


@batch
def picture(seed: Numbers, label: Numbers) -> dict[str, npt.NDArray[np.object_]]:
    latents = np.concatenate([generator.latents(int(number)) for number in seed[:, 0]])
    images = generator.images(latents, label[:, 0].tolist())
    return {"png": np.array([[png(image)] for image in images], np.object_)}


def arrays(requests: list[Request]) -> list[dict[str, Images]]:
    answers = []
    for request in requests:
        seed, label, n = (int(request[name][0]) for name in ("seed", "label", "n"))
        answers.append({"images": generator.images(generator.latents(seed, n), [label] * n)})
    return answers


def number(name: str) -> Tensor:
    return Tensor(name=name, dtype=np.int64, shape=(1,))


config = TritonConfig(
    http_address="127.0.0.1", http_port=int(sys.argv[1]), allow_grpc=False, allow_metrics=False
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="picture",
        infer_func=picture,
        inputs=[number("seed"), number("label")],
        outputs=[Tensor(name="png", dtype=bytes, shape=(1,))],
        config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher()),
    )
    triton.bind(
        model_name="arrays",
        infer_func=arrays,
        inputs=[number("seed"), number("label"), number("n")],
        outputs=[Tensor(name="images", dtype=np.uint8, shape=(-1, -1, -1, -1))],
        config=ModelConfig(batching=False),
    )
    triton.serve()
