"""From the body of a request to the bytes of its answer, with everything slow off the event loop."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import ParamSpec, TypeVar

from models.shelf import Generator
from service.archive import Buffer
from service.catalogue import Catalogue
from service.dispatch import BatchFailed, Dispatcher, QueueFull, TooLate
from service.encoding import Format, Generated
from service.engine import Engine
from service.errors import Refusal
from service.negotiation import negotiate
from service.resolve import Resolved, resolve
from service.schemas import parse
from service.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Answer:
    """Images in the format that was asked for, in order, and the address that gives them again."""

    content: list[Buffer]
    form: Format
    generated: Generated
    generator: Generator


class Generation:
    """The generators of a catalogue, ready once `load` has warmed them up. Lives on one event loop."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="encoder")
        self._dispatcher: Dispatcher | None = None

    @property
    def ready(self) -> bool:
        return self._dispatcher is not None

    async def load(self) -> None:
        """Load every generator and warm it up.

        Raises EngineError.
        """
        engines = await self._in_pool(_load, self._catalogue.generators, self._settings)
        self._dispatcher = Dispatcher(
            engines, max_batch=self._settings.max_batch, queue_rows=self._settings.queue_rows
        )

    def close(self) -> None:
        """Let what is being computed and encoded come to its end."""
        if self._dispatcher:
            self._dispatcher.close()
        self._pool.shutdown(cancel_futures=True)

    async def answer(self, body: bytes, accept: str | None) -> Answer:
        """What a client gets for a body of JSON and an Accept header.

        Raises Refusal. When it is cancelled, rows that are not computed yet will not be.
        """
        if self._dispatcher is None:
            raise _come_back("the generators are warming up", 1)
        deadline = asyncio.get_running_loop().time() + self._settings.timeout
        generator, form, resolved = await self._in_pool(_understand, body, accept, self._catalogue)
        try:
            images = await self._dispatcher.images(generator.reference, resolved.rows, deadline)
        except QueueFull as full:
            message = f"the queue has no room for {len(resolved.rows)} more images"
            raise _come_back(message, full.retry_after) from None
        except TooLate:
            message = f"the images were not computed within {self._settings.timeout:g} s"
            raise _come_back(message, 1) from None
        except BatchFailed:
            raise Refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"{generator.reference} failed on these images; the server's log says why",
            ) from None
        generated = Generated(
            images,
            seed=resolved.seed,
            indices=resolved.indices,
            labels=resolved.rows.labels,
            classes=generator.contract.classes,
            model=generator.reference,
            digest=generator.digest,
        )
        return Answer(await self._in_pool(form.encode, generated), form, generated, generator)

    async def _in_pool(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(function, *args, **kwargs))


def _load(generators: Iterable[Generator], settings: Settings) -> dict[str, Engine]:
    engines = {}
    for generator in generators:
        engine = Engine(generator, threads=settings.threads, max_batch=settings.max_batch)
        engine.warm_up()
        engines[generator.reference] = engine
    return engines


def _understand(body: bytes, accept: str | None, catalogue: Catalogue) -> tuple[Generator, Format, Resolved]:
    request = parse(body)
    form = negotiate(request.format, accept)
    generator = catalogue.find(request.model)
    return generator, form, resolve(request, generator.contract, form)


def _come_back(message: str, seconds: float) -> Refusal:
    wait = max(1, ceil(seconds))
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{message}; come back in {wait} s",
        headers={"Retry-After": str(wait)},
    )
