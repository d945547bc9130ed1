"""FastAPI, whose plain functions run in a pool of threads: a `session.run` a request, without batching."""

from fastapi import FastAPI, Response
from pydantic import BaseModel

from benchmarks.serving.peers.images import Generator, npy, png

generator = Generator()
app = FastAPI()


class Wanted(BaseModel):
    seed: int
    label: int
    n: int = 1


@app.get("/ready")
async def ready() -> None:
    pass


@app.post("/picture")
def picture(wanted: Wanted) -> Response:
    (image,) = generator.images(generator.latents(wanted.seed), [wanted.label])
    return Response(png(image), media_type="image/png")


@app.post("/arrays")
def arrays(wanted: Wanted) -> Response:
    images = generator.images(generator.latents(wanted.seed, wanted.n), [wanted.label] * wanted.n)
    return Response(npy(images), media_type="application/octet-stream")
