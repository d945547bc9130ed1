"""Ray Serve, with `@serve.batch` for pictures; an array request is a batch by itself."""

import asyncio
import sys
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.serving.peers.images import Generator, npy, png


@serve.deployment(max_ongoing_requests=256)
class Pictures:
    def __init__(self) -> None:
        self.generator = Generator()

    async def __call__(self, request: Request) -> Response:
        wanted = await request.json()
        if request.url.path == "/arrays":
            return Response(await asyncio.to_thread(self.arrays, **wanted))
        return Response(await self.picture(wanted), media_type="image/png")

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def picture(self, batch: list[dict[str, Any]]) -> list[bytes]:
        return await asyncio.to_thread(self.pictures, batch)

    def pictures(self, batch: list[dict[str, Any]]) -> list[bytes]:
        latents = np.concatenate([self.generator.latents(wanted["seed"]) for wanted in batch])
        images = self.generator.images(latents, [wanted["label"] for wanted in batch])
        return [png(image) for image in images]

    def arrays(self, seed: int, label: int, n: int) -> bytes:
        return npy(self.generator.images(self.generator.latents(seed, n), [label] * n))


if __name__ == "__main__":
    port, cores = (int(argument) for argument in sys.argv[1:])
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Pictures.options(num_replicas=cores).bind(), blocking=True)
