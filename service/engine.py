"""Runs one exported generator with ONNX Runtime, so that a row's image never depends on its batch."""

import logging
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.shelf import Generator
from service import latents
from service.errors import EngineError
from service.rows import Images, Rows

logger = logging.getLogger(__name__)


class Engine:
    """A generator on the CPU, computing with `threads` threads at most `max_batch` rows at a time.

    Raises EngineError, as `warm_up` does.
    """

    def __init__(self, generator: Generator, *, threads: int, max_batch: int) -> None:
        self.generator = generator
        self._max_batch = max_batch
        self._rows_per_run = max_batch
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin while they wait take the cores from encoding and from HTTP.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                generator.path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no other class
            raise _refusal(generator, "cannot load", error) from None

    def run(self, rows: Rows) -> Images:
        """The images of at most `max_batch` rows: uint8 [n, height, width, channels]."""
        if len(rows) <= self._rows_per_run:
            return self._run(rows)
        return np.concatenate([self._run(rows[i : i + 1]) for i in range(len(rows))])

    def warm_up(self) -> None:
        """Compute a full batch, and the same rows in batches of other sizes.

        Kernels may round differently in a batch of another size or at another place in it. In ONNX Runtime
        1.31 on x86-64 these do: products with weights that the graph computes, means over channels, Softplus.
        Where the bytes differ the generator runs one row at a time from then on: slower, and always the same.
        """
        rows = self._probe()
        try:
            together = self._run(rows)
            apart = np.concatenate([self._run(rows[part]) for part in _pieces(len(rows))])
        except Exception as error:  # noqa: BLE001 - as above
            raise _refusal(self.generator, "cannot run", error) from None
        shape = self.generator.contract.image
        expected = (len(rows), shape.height, shape.width, shape.channels)
        if together.shape != expected or together.dtype != np.uint8:
            raise EngineError(
                f"{self.generator.path}: gives images of {together.dtype} {list(together.shape)}, "
                f"its contract says uint8 {list(expected)}; export it again"
            )
        if not np.array_equal(together, apart):
            self._rows_per_run = 1
            logger.warning(
                "%s gives other images in other batches: it is run one row at a time, and slowly. "
                "Export it with operators that do not round by batch size.",
                self.generator.reference,
            )

    def _run(self, rows: Rows) -> Images:
        contract = self.generator.contract
        feeds: dict[str, npt.NDArray[np.float32]] = {"latent": np.ascontiguousarray(rows.latents)}
        if rows.labels is not None:
            feeds["label"] = np.zeros((len(rows), len(contract.classes)), np.float32)
            feeds["label"][np.arange(len(rows)), rows.labels] = 1
        if rows.truncation is not None:
            feeds["truncation"] = np.ascontiguousarray(rows.truncation)
        images: Images = self._session.run(["image"], feeds)[0]
        return images

    def _probe(self) -> Rows:
        contract = self.generator.contract
        drawn = latents.words(seed=0, start=0, n=self._max_batch, dim=contract.latent.dim)
        return Rows(
            latents.latents(drawn, contract.latent.distribution),
            latents.classes(drawn, len(contract.classes)) if contract.classes else None,
            np.ones(self._max_batch, np.float32) if contract.truncation == "mapping" else None,
        )


def _pieces(rows: int) -> Iterator[slice]:
    """The rows cut into pieces of 1, 2, 3, 5, 8, ... rows, so that sizes and places in a batch differ."""
    start, size, following = 0, 1, 2
    while start < rows:
        yield slice(start, start + size)
        start, size, following = start + size, following, size + following


def _refusal(generator: Generator, what: str, error: Exception) -> EngineError:
    return EngineError(f"{generator.path}: ONNX Runtime {what} it: {' '.join(str(error).split())}")
