"""BentoML, with its adaptive batching for pictures; an array request is a batch by itself.

A batched API takes and gives a list, so the picture comes as base64 in JSON. Its documentation's way around
that, a second service in front, costs another HTTP request between the two, and loses some under load.
"""

import base64
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType
from pydantic import BaseModel

from benchmarks.serving.peers.images import Generator, npy, png

Npy = Annotated[bytes, ContentType("application/octet-stream")]


class Wanted(BaseModel):
    seed: int
    label: int


@bentoml.service(workers="cpu_count", logging={"access": {"enabled": False}})
class Pictures:
    def __init__(self) -> None:
        self.generator = Generator()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=30_000)
    def pictures(self, batch: list[Wanted]) -> list[str]:
        latents = np.concatenate([self.generator.latents(wanted.seed) for wanted in batch])
        images = self.generator.images(latents, [wanted.label for wanted in batch])
        return [base64.b64encode(png(image)).decode() for image in images]

    @bentoml.api
    def arrays(self, seed: int, label: int, n: int) -> Npy:
        return npy(self.generator.images(self.generator.latents(seed, n), [label] * n))
