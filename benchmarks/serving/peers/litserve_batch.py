"""LitServe, with dynamic batching for pictures; an array request is a batch by itself."""

import sys
from typing import Any

import litserve
import numpy as np
from fastapi import Response

from benchmarks.serving.peers.images import Generator, Images, Latents, npy, png

Row = tuple[Latents, int]


class Picture(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - the signature is LitServe's
        self.generator = Generator()

    def decode_request(self, request: dict[str, Any]) -> Row:
        return self.generator.latents(request["seed"]), request["label"]

    def batch(self, inputs: list[Row]) -> tuple[Latents, list[int]]:
        latents, labels = zip(*inputs, strict=True)
        return np.concatenate(latents), list(labels)

    def predict(self, batch: tuple[Latents, list[int]]) -> Images:
        return self.generator.images(*batch)

    def unbatch(self, output: Images) -> list[Images]:
        return list(output)

    def encode_response(self, output: Images) -> Response:
        return Response(png(output), media_type="image/png")


class Arrays(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - as above
        self.generator = Generator()

    def predict(self, request: dict[str, Any]) -> Images:
        n = request["n"]
        return self.generator.images(self.generator.latents(request["seed"], n), [request["label"]] * n)

    def encode_response(self, output: Images) -> Response:
        return Response(npy(output), media_type="application/octet-stream")


if __name__ == "__main__":
    port, cores = (int(argument) for argument in sys.argv[1:])
    server = litserve.LitServer(
        [Picture(api_path="/picture", max_batch_size=64, batch_timeout=0.005), Arrays(api_path="/arrays")],
        accelerator="cpu",
        workers_per_device=cores,
        fast_queue=True,
    )
    server.run("127.0.0.1", port, log_level="warning", generate_client_file=False)
