"""Wires the rooms to BentoML: `bentoml serve service.service:Ganserve`."""

import asyncio
import gc
import inspect
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml import get_current_service
from bentoml._internal.utils.analytics import usage_stats
from bentoml.validators import ContentType
from starlette.requests import Request
from starlette.responses import Response

from service import http, shared
from service.access import Access
from service.connections import Connections
from service.errors import EngineError, JsonErrors
from service.failure import end_when_a_process_fails, fail
from service.schemas import GenerateRequest
from service.shared_count import SharedCount
from service.start import catalogue_of, read_settings, tracing

logger = logging.getLogger("bentoml.service")

# Nobody reads uvicorn's access log, which it would make up all the same while a handler could.
logging.getLogger("uvicorn.access").propagate = False

# No usage statistics for BentoML's makers, unless who runs us says otherwise. `bentoml serve` asks before
# it imports us, and remembers the answer.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
usage_stats.do_not_track.cache_clear()

# From 1 on; None in the supervisor, and in a process that has none.
WORKER = bentoml.server_context.worker_index
NUMBER = (WORKER or 1) - 1

try:
    settings = read_settings()
    catalogue = catalogue_of(settings.models)
except SystemExit:
    # In the place of one that died, when the shelf has changed since.
    if WORKER is not None:
        fail()
    raise

# Taken on. Until it is warm, nobody is to send callers here.
rows = SharedCount(shared.ROWS, NUMBER)
rows.present = False

# What BentoML's clients save the answer as, whatever its format is.
File = Annotated[Path, ContentType("image/png")]


# BentoML describes the fields in its OpenAPI page and to its clients, and leaves reading them to us, whose
# errors say more. No docstring, for that would be a part of the description.
class GenerateBody(bentoml.IODescriptor, GenerateRequest):  # type: ignore[misc]
    __root_input__ = True

    @classmethod
    async def from_http_request(cls, request: Request, _: Any) -> Request:
        return request

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super().model_json_schema(*args, **kwargs)
        # Clients of BentoML are to take the fields one by one.
        schema.pop("root_input")
        return schema


@bentoml.asgi_app(http.around(catalogue))
@bentoml.service(
    workers=settings.processes,
    # What outlasts the timeout is answered by us; BentoML's own is for what hangs.
    traffic={"timeout": settings.timeout + 15},
    # Ours, in `access` and `metrics`, say more and take a fraction of the time. BentoML's label metrics with
    # any path that a client makes up.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False, "namespace": "bentoml_service"},
    tracing=tracing(settings.traces),
)
class Ganserve:
    """Images from the generators on the shelf."""

    def __init__(self) -> None:
        # BentoML's supervisor imports this module too, and needs neither SciPy nor ONNX Runtime.
        from service.generation import Generation  # noqa: PLC0415

        self.generation = Generation(catalogue, settings, rows, process=NUMBER)
        self.loading: asyncio.Task[None] | None = None

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def supervise() -> None:
        end_when_a_process_fails()
        if settings.processes > 1:
            try:
                shared.share(settings.processes)
            except OSError as error:
                sys.exit(f"ganserve: no temporary folder: {error.strerror}; make room, or set TMPDIR")
        # In a container BentoML would start no process in the place of one that dies.
        os.environ.pop("BENTOML_CONTAINERIZED", None)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start_loading(self) -> None:
        # In the background, so that the service is alive meanwhile, and says that it is not ready.
        self.loading = asyncio.create_task(self._load())

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def leave_before_stopping(self) -> None:
        # Load balancers are to send nobody here any more before connections are closed.
        loop = asyncio.get_running_loop()
        stop: Any = signal.getsignal(signal.SIGTERM)

        def leave() -> None:
            self.generation.leave()
            rows.present = False
            loop.call_later(settings.drain, stop, signal.SIGTERM, None)
            # A client that does not read would hold the process, and so would a device that hangs, perhaps
            # with the event loop.
            end = threading.Timer(settings.drain + settings.timeout, os._exit, [0])
            end.daemon = True
            end.start()

        if callable(stop):  # uvicorn's; it is not there when somebody else runs the application
            loop.add_signal_handler(signal.SIGTERM, leave)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        if self.loading and not self.loading.done():
            if WORKER is not None:
                # Nobody waits for what is computed, and ONNX Runtime cannot be interrupted.
                os._exit(0)
            self.loading.cancel()
        self.generation.close()

    async def __is_alive__(self) -> bool:
        # Only another process may have the device again.
        return not self.generation.lost

    async def __is_ready__(self) -> bool:
        return self.generation.ready

    @bentoml.api(input_spec=GenerateBody)  # type: ignore[untyped-decorator]
    async def generate(self, request: Request, /) -> File:
        """Generate images, in the `format` of the request or else what its Accept header likes best.

        - `image/png`, `image/webp`, `image/jpeg`: one picture, a contact sheet when there are several images.
        - `application/zip`: a PNG file an image, and `manifest.jsonl` with the seed, index and label of each.
        - `application/json`: base64 PNG files with seed, index and label each.
        - `application/x-npz`: NumPy's `images` uint8 [n, height, width, channels], `labels` and `indices`.

        The same model, seed, index, label and truncation always give the same image; the headers
        `Ganserve-Model`, `Ganserve-Digest`, `Ganserve-Seed` and `Ganserve-Index` name the first three.

        An error is a JSON object `{"error": {"message", "field", "expected"}}`; with 503, `Retry-After` says
        when to come back.
        """
        return await self.respond(request)  # type: ignore[return-value]

    async def respond(self, request: Request) -> Response:
        return await http.generate(
            request, self.generation, body_limit=settings.body_limit, seconds=settings.timeout
        )

    async def _load(self) -> None:
        try:
            await self.generation.load()
        except Exception as error:
            if shared.first_to_fail():
                known = isinstance(error, EngineError)
                why = str(error) if known else "the generators cannot be loaded"
                logger.critical("ganserve: %s", why, exc_info=not known)
            fail()
        else:
            rows.present = not self.generation.leaving
            references = ", ".join(generator.reference for generator in catalogue.generators)
            logger.info("Ready: %s", references)
            # What is there by now stays until the end. To look through it for garbage again and again, every
            # few requests, took a tenth of their time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000)


# As Markdown, which would take indented text for code.
generate: Any = Ganserve.apis["generate"]  # type: ignore[attr-defined]
generate.doc = inspect.cleandoc(generate.doc)
# The first is the outermost.
Ganserve.add_asgi_middleware(  # type: ignore[attr-defined]
    Access, sample=settings.log_sample
)
Ganserve.add_asgi_middleware(  # type: ignore[attr-defined]
    Connections,
    leaving=lambda: get_current_service().generation.leaving,
    rows=rows,
)
Ganserve.add_asgi_middleware(JsonErrors)  # type: ignore[attr-defined]
Ganserve.add_asgi_middleware(  # type: ignore[attr-defined]
    http.Direct, respond=lambda request: get_current_service().respond(request)
)
