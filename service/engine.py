"""Runs one exported generator on a device, so that a row's image never depends on its batch."""

import logging
import time
from itertools import chain
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from models.shelf import Generator
from service import latents, metrics
from service.batching import WORTH_SHARING, BatchSize
from service.buckets import bucket_of
from service.device import Device, Session
from service.errors import DeviceLost, EngineError, in_short
from service.rows import Feeds, Images, Rows

logger = logging.getLogger(__name__)

# Rounding that depends on the batch changes few values of an image: so many are compared for each batch size,
# or those of `max_batch` images.
PROBED_VALUES = 2**17
# So many seconds a batch takes at most on a CPU, or as long as WORTH_SHARING rows take. Longer ones save
# nothing, and whoever comes waits for them: at 2.6 ms a row, 64 rows at a time took 3 % more a row than 8.
LONG = 0.02
# Threads that share a row of fewer seconds wait for each other for longer than they save.
WORTH_THE_WHOLE = 0.002
# So many seconds of a thread's computing are worth no worker. To hand a row to one and back took 0.3 ms on a
# virtual machine, whose idle cores wake slowly, and made all else 0.5 ms slower, for its data was in another
# core's caches. While nothing else is computed, there is less that would have to wait.
BRIEF, BRIEF_ALONE = 0.001, 0.004


class Engine:
    """A generator on a device, computing at most `max_batch` rows at a time on each of its workers.

    `size`, `brief` and `brief_alone` are what a queue should know; `warm_up` finds them.
    Raises EngineError, as `warm_up` does.
    """

    def __init__(self, generator: Generator, device: Device, *, max_batch: int) -> None:
        self.generator = generator
        self._device = device
        self.size = BatchSize(max_batch, fill=max_batch)
        try:
            self._session = device.open(generator, max_batch)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no other class
            raise self._refusal("cannot load", error) from None
        shape = generator.contract.image
        self._compared = ceil(PROBED_VALUES / (shape.height * shape.width * shape.channels))
        self._one_hot = np.eye(len(generator.contract.classes), dtype=np.float32)
        self._whole: Session | None = None
        # how many rows take less than that, where any thread may compute them
        self.brief = self.brief_alone = 0
        self._sizes = self._session.buckets
        self._known: tuple[Rows, Images] | None = None

    def run(self, rows: Rows, *, alone: bool = False) -> Images:
        """The images of a batch: uint8 [n, height, width, channels]. Raises DeviceLost.

        `alone` says that nothing else is computed.
        """
        whole = alone and len(rows) <= WORTH_SHARING and self._whole
        session = whole or self._session
        largest = self._sizes[-1] if self._sizes else self.size.most
        parts = rows.in_parts(largest)
        try:
            images = [self._compute(part, self.padded(len(part)), session) for part in parts]
        except Exception as error:
            self._check_device(error)
            raise
        if padding := sum(self.padded(len(part)) for part in parts) - len(rows):
            metrics.of(metrics.PADDING_ROWS, self.generator.reference).inc(padding)
        return images[0] if len(images) == 1 else np.concatenate(images)

    def padded(self, rows: int) -> int:
        """How many rows the device computes for a batch of at most as many as it takes at once."""
        return bucket_of(rows, self._sizes) if self._sizes else rows

    def warm_up(self) -> None:
        """Compute a full batch, and rows of it in batches of every size that the device prepares for.

        Kernels may round differently in a batch of another size or at another place in it. In ONNX Runtime
        1.31 on x86-64 these do: products with weights that the graph computes, means over channels, Softplus.
        A prepared size that gives other bytes than a full batch is not used. Where nothing agrees the
        generator runs one row at a time from then on: slower, and always the same.
        """
        try:
            rows = self._probe()
            if self._session.buckets is None:
                self._limit_batches(rows)
            rows = rows[: max(self.size.most, self._compared)]
            together = self._in_batches(rows, self.size.most)
            self._check_shape(together, len(rows))
            self._settle(rows, together)
            seconds = self._seconds(rows[:1])
            if seconds >= WORTH_THE_WHOLE:
                self._take_the_whole(rows, together)
            if self._device.is_cpu and _runs_straight(self.generator.path):
                self.brief = min(int(BRIEF / seconds), self.size.most)
                most = min(WORTH_SHARING, self.size.most)
                self.brief_alone = max(self.brief, min(int(BRIEF_ALONE / seconds), most))
            self._known = rows[:1], self._compute(rows[:1], self.padded(1))
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise self._refusal("cannot run", error) from None

    def _limit_batches(self, rows: Rows) -> None:
        """Have batches that are as long as they should be on a CPU, by what some of the rows take."""
        shared = rows[:WORTH_SHARING]
        most = int(LONG / (self._seconds(shared) / len(shared)))
        most = min(max(most, WORTH_SHARING), self.size.most)
        self.size = BatchSize(most, fill=min(most, WORTH_SHARING))

    def _take_the_whole(self, rows: Rows, together: Images) -> None:
        """Have the whole device for who is alone, where that gives the same bytes."""
        if (whole := self._session.whole()) is None:
            return
        sizes = self._sizes or _growing(min(self.size.most, WORTH_SHARING))
        if all(self._agrees(rows, together, size, whole) for size in sizes):
            self._whole = whole

    def _seconds(self, rows: Rows) -> float:
        """What they take of a thread's time, without what may hold it up."""
        taken = []
        for _ in range(3):
            began = time.thread_time()
            self._compute(rows, self.padded(len(rows)))
            taken.append(time.thread_time() - began)
        return min(taken)

    def _settle(self, rows: Rows, together: Images) -> None:
        """Keep to the batch sizes in which the rows have the bytes that they have together."""
        tried = self._sizes or _growing(self.size.most)
        agreeing = tuple([size for size in tried if self._agrees(rows, together, size)])
        # Batches of other sizes have the rows at other places, too.
        if agreeing == tried:
            return
        turned = self._in_batches(rows[::-1], self.size.most)[::-1]
        if self._sizes and self.size.most in agreeing and np.array_equal(turned, together):
            self._sizes = agreeing
            logger.warning(
                "%s gives other images in batches of some sizes: it is run in batches of %s rows only.",
                self.generator.reference,
                ", ".join(map(str, agreeing)),
            )
        else:
            self._sizes = (1,)
            logger.warning(
                "%s gives other images in other batches: it is run one row at a time, and slowly. "
                "Export it with operators that do not round by batch size.",
                self.generator.reference,
            )

    def _agrees(self, rows: Rows, together: Images, size: int, session: Session | None = None) -> bool:
        compared = max(size, self._compared)
        return np.array_equal(self._in_batches(rows[:compared], size, session), together[:compared])

    def _in_batches(self, rows: Rows, size: int, session: Session | None = None) -> Images:
        parts = rows.in_parts(size)
        return np.concatenate(
            [self._compute(part, size if self._sizes else len(part), session) for part in parts]
        )

    def _compute(self, rows: Rows, size: int, session: Session | None = None) -> Images:
        """The images of the rows, computed in a batch of that size."""
        return (session or self._session).run(self._feeds(rows, size))[: len(rows)]

    def _feeds(self, rows: Rows, size: int) -> Feeds:
        feeds: Feeds = {"latent": rows.latents}
        if rows.labels is not None:
            feeds["label"] = self._one_hot[rows.labels]
        if rows.truncation is not None:
            feeds["truncation"] = rows.truncation
        return {name: _padded(values, size) for name, values in feeds.items()}

    def _check_shape(self, images: Images, rows: int) -> None:
        shape = self.generator.contract.image
        expected = (rows, shape.height, shape.width, shape.channels)
        if images.shape != expected or images.dtype != np.uint8:
            raise EngineError(
                f"{self.generator.path}: gives images of {images.dtype} {list(images.shape)}, "
                f"its contract says uint8 {list(expected)}; export it again"
            )

    def _check_device(self, error: Exception) -> None:
        """Raise DeviceLost unless the device still computes what it computed when it was warmed up."""
        if self._known is None:
            return
        rows, images = self._known
        try:
            if np.array_equal(self._compute(rows, self.padded(1)), images):
                return
        except Exception:  # noqa: BLE001, S110 - what comes now only repeats the first error
            pass
        raise DeviceLost(f"{self._device} has failed: {in_short(error)}") from error

    def _probe(self) -> Rows:
        contract = self.generator.contract
        drawn = latents.words(seed=0, start=0, n=self.size.most, dim=contract.latent.dim)
        return Rows(
            latents.latents(drawn, contract.latent.distribution),
            latents.classes(drawn, len(contract.classes)) if contract.classes else None,
            np.ones(self.size.most, np.float32) if contract.truncation == "mapping" else None,
        )

    def _refusal(self, what: str, error: Exception) -> EngineError:
        return EngineError(
            f"{self.generator.path}: ONNX Runtime {what} it on {self._device}: {in_short(error)}; "
            f"{self._device.remedy}"
        )


def _runs_straight(path: Path) -> bool:
    """Whether the graph has neither loops nor branches, so that any row takes as long as any other."""
    model = onnx.load(path, load_external_data=False)
    nodes = chain(model.graph.node, *(function.node for function in model.functions))
    return not any(attribute.HasField("g") for node in nodes for attribute in node.attribute)


def _padded(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """The rows, and as many of zeros as there are to `size`."""
    if len(values) < size:
        values = np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), np.float32)])
    return np.ascontiguousarray(values)


def _growing(most: int) -> tuple[int, ...]:
    """1, 2, 3, 5, 8 and so on, up to `most`: odd and even sizes of every magnitude."""
    sizes = [1, 2]
    while sizes[-1] + sizes[-2] <= most:
        sizes.append(sizes[-1] + sizes[-2])
    return tuple([size for size in sizes if size <= most])
