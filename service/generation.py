"""From the body of a request to the bytes of its answer, with all that takes long off the event loop."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import TypeVar

from models.shelf import Generator
from service import metrics, shared
from service.admission import REFUSALS_PER_SECOND, Admission, Full
from service.archive import Buffer
from service.catalogue import Catalogue
from service.device import Device, choose
from service.dispatch import Dispatcher, Made, TooLate
from service.encoding import Format, Generated
from service.engine import Engine
from service.errors import DeviceLost, Refusal
from service.negotiation import negotiate
from service.resolve import Resolved, refuse_other_lengths, resolve
from service.rows import Images
from service.schemas import GenerateRequest, parse
from service.settings import Settings
from service.shared_cores import SharedCores
from service.shared_count import SharedCount
from service.workers import BatchFailed

R = TypeVar("R")

# Work below these is done on the event loop at once: a fifth of a millisecond at most, and less than handing
# it to a thread and back takes.
QUICK_BODY = 2**12
QUICK_NUMBERS = 2**13


@dataclass(frozen=True)
class Answer:
    """Images in the format that was asked for, in order, and the address that gives them again."""

    content: list[Buffer]
    form: Format
    generated: Generated
    generator: Generator
    encode_seconds: float


class Generation:
    """The generators of a catalogue, ready once `load` has warmed them up. Lives on one event loop."""

    def __init__(
        self, catalogue: Catalogue, settings: Settings, rows: SharedCount | None = None, *, process: int = 0
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._process = process
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="encoder")
        self._quick = ThreadPoolExecutor(settings.threads, thread_name_prefix="quick")
        # A single thread: each body that is parsed takes thirty times its size, and the others' time.
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parser")
        self._admission = Admission(settings.queue_rows, REFUSALS_PER_SECOND / settings.processes, rows)
        self._dispatcher: Dispatcher | None = None
        self._warm = asyncio.Event()
        self._all_warm = False
        self.leaving = False
        metrics.READY.set(0)

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: all processes that share the port have warmed up once."""
        if not self._all_warm:
            self._all_warm = self._warm.is_set() and shared.all_warmed_up(self._settings.processes)
        return self._all_warm and not self.leaving and not self.lost

    @property
    def lost(self) -> bool:
        """Whether the device has failed: then nothing is computed any more."""
        return self._dispatcher is not None and self._dispatcher.lost

    async def load(self) -> None:
        """Load every generator and warm it up.

        Raises EngineError.
        """
        device, engines = await asyncio.get_running_loop().run_in_executor(
            self._pool, _load, self._catalogue.generators, self._settings
        )
        metrics.describe(self._catalogue.generators, device=device.name)
        self._dispatcher = Dispatcher(
            engines,
            self._pool,
            self._quick,
            cores=SharedCores(device.workers, self._process),
            # A thread that computes loses more time by handing over to another than by encoding itself.
            overlap=not device.is_cpu,
        )
        await self._dispatcher.start()
        shared.tell_that_warm()
        self._admission.begin()
        self._warm.set()
        metrics.READY.set(not self.leaving)

    def leave(self) -> None:
        """Be ready no more, but answer whoever comes."""
        self.leaving = True
        metrics.READY.set(0)

    def close(self) -> None:
        """Let what is being computed and encoded come to its end."""
        if self._dispatcher:
            self._dispatcher.close()
        for pool in (self._quick, self._parser, self._pool):
            pool.shutdown(cancel_futures=True)

    async def answer(self, body: bytes, accept: str | None, deadline: float) -> Made[Answer]:
        """What a client gets for a body of JSON and an Accept header, by a `deadline` of `time.monotonic`.

        Raises Refusal. When it is cancelled, rows that are not computed yet will not be.
        """
        request = await self._parse(body, deadline)
        form = negotiate(request.format, accept)
        generator = self._catalogue.find(request.model)
        refuse_other_lengths(request, generator.contract)  # before they wait
        rows = len(request.latents) if request.latents else request.n or 1
        outcome = partial(metrics.of, metrics.ROWS, generator.reference)
        try:
            # Before the latents are drawn, which would make a refusal of many rows take long.
            with self._admission.admit(rows):
                await self._until_warm(deadline)
                made = await self._make(generator, form, request, rows, deadline)
        except Refusal:
            raise
        except Full as full:
            outcome("refused").inc(rows)
            await self._admission.pace_refusal()
            # All that is accepted is answered or given up by then.
            seconds = min(full.retry_after, self._settings.timeout)
            raise _come_back(f"the queue has no room for {rows} more images", seconds) from None
        except TooLate:
            outcome("dropped").inc(rows)
            raise self._too_late() from None
        except DeviceLost:
            outcome("failed").inc(rows)
            await self._admission.pace_refusal()
            raise _come_back("the device that makes the images has failed", 30) from None
        except BatchFailed:
            outcome("failed").inc(rows)
            raise Refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"{generator.reference} failed on these images; the server's log says why",
            ) from None
        except asyncio.CancelledError:
            outcome("dropped").inc(rows)
            raise
        except Exception:
            outcome("failed").inc(rows)
            raise
        outcome("served").inc(rows)
        metrics.of(metrics.ENCODE_SECONDS, generator.reference, form.name).observe(made.result.encode_seconds)
        return made

    async def _parse(self, body: bytes, deadline: float) -> GenerateRequest:
        if len(body) <= QUICK_BODY:
            return parse(body)
        parsing = asyncio.get_running_loop().run_in_executor(self._parser, parse, body)
        try:
            return await _by(deadline, parsing)
        except TooLate:
            raise self._too_late() from None

    async def _until_warm(self, deadline: float) -> None:
        """Wait: another process that shares the port may be ready, and call the server that."""
        if not self._warm.is_set():
            await _by(deadline, self._warm.wait())

    def _too_late(self) -> Refusal:
        message = f"the images were not computed within {self._settings.timeout:g} s"
        if not self._warm.is_set():
            message = "the generators are still warming up"
        return _come_back(message, 1)

    async def _make(
        self, generator: Generator, form: Format, request: GenerateRequest, rows: int, deadline: float
    ) -> Made[Answer]:
        contract = generator.contract
        assert self._dispatcher is not None  # noqa: S101 - it is warm
        if rows * contract.latent.dim <= QUICK_NUMBERS and request.latents is None:
            resolved = resolve(request, contract, form)
        else:
            resolving = asyncio.get_running_loop().run_in_executor(
                self._quick, resolve, request, contract, form
            )
            resolved = await _by(deadline, resolving)
        pixels = rows * contract.image.height * contract.image.width
        return await self._dispatcher.make(
            generator.reference,
            resolved.rows,
            deadline,
            partial(_encode, generator, form, resolved),
            quick=pixels * contract.image.channels <= form.quick_bytes,
        )


async def _by(deadline: float, awaitable: Awaitable[R]) -> R:
    """Its outcome. Raises TooLate."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await awaitable
    except TimeoutError:
        raise TooLate from None


def _encode(generator: Generator, form: Format, resolved: Resolved, images: Images) -> Answer:
    generated = Generated(
        images,
        seed=resolved.seed,
        indices=resolved.indices,
        labels=resolved.rows.labels,
        classes=generator.contract.classes,
        model=generator.reference,
        digest=generator.digest,
    )
    began = time.monotonic()
    content = form.encode(generated)
    return Answer(content, form, generated, generator, time.monotonic() - began)


def _load(generators: Iterable[Generator], settings: Settings) -> tuple[Device, dict[str, Engine]]:
    device = choose(settings.device, settings.threads)
    return device, {
        generator.reference: Engine(generator, device, max_batch=settings.max_batch)
        for generator in generators
    }


def _come_back(message: str, seconds: float) -> Refusal:
    wait = max(1, ceil(seconds))
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{message}; come back in {wait} s",
        headers={"Retry-After": str(wait)},
    )
