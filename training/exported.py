"""An exported generator under ONNX Runtime: what a user of the file gets, for samples and evaluation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.contract import Contract


class ExportedGenerator:
    """One ONNX file, on the CPU."""

    def __init__(self, model: Path | bytes, contract: Contract) -> None:
        self.contract = contract
        content = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def __call__(self, latent: NDArray[np.float32], label: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        """Images uint8 [batch, H, W, C] of latent [batch, dim] and label [batch, classes] or None."""
        inputs = {"latent": latent} if label is None else {"latent": latent, "label": label}
        (images,) = self._session.run(["image"], inputs)
        return np.asarray(images)

    def generate(self, labels: NDArray[np.int64], seed: int, batch: int = 250) -> NDArray[np.uint8]:
        """An image for each of `labels` [n], from latents of `seed`, untruncated, as [n, H, W, C]."""
        draws = np.random.default_rng(seed)
        parts = [self(*rows) for rows in self._rows(labels, draws, batch)]
        return np.concatenate(parts)

    def _rows(
        self, labels: NDArray[np.int64], draws: np.random.Generator, batch: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        for start in range(0, len(labels), batch):
            chosen = labels[start : start + batch]
            yield self.latents(draws, len(chosen)), self.one_hot(chosen)

    def latents(self, draws: np.random.Generator, n: int) -> NDArray[np.float32]:
        """Latents [n, dim] of the contract's distribution."""
        shape = (n, self.contract.latent.dim)
        if self.contract.latent.distribution == "uniform":
            return draws.uniform(-1, 1, shape).astype(np.float32)
        return draws.standard_normal(shape, np.float32)

    def one_hot(self, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Labels [n] as [n, classes]; None when unconditional."""
        classes = len(self.contract.classes)
        return np.eye(classes, dtype=np.float32)[labels] if classes else None
