"""An exported generator under ONNX Runtime: what a user of the file gets, for samples and evaluation."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from tqdm import tqdm

from models.contract import Contract
from training.bars import BAR


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

    def generate(
        self, labels: NDArray[np.int64], seed: int, truncation: float | None = None, batch: int = 250
    ) -> NDArray[np.uint8]:
        """An image for each of `labels` [n], from latents of `seed`, as [n, H, W, C]."""
        draws = np.random.default_rng(seed)
        shape = self.contract.image
        images = np.empty((len(labels), shape.height, shape.width, shape.channels), np.uint8)
        for start in tqdm(range(0, len(labels), batch), desc="generating", unit="batch", delay=1, **BAR):
            chosen = labels[start : start + batch]
            latents = self.latents(draws, len(chosen), truncation)
            images[start : start + batch] = self(latents, self.one_hot(chosen))
        return images

    def latents(
        self, draws: np.random.Generator, n: int, truncation: float | None = None
    ) -> NDArray[np.float32]:
        """Latents [n, dim] of the contract's distribution, truncated to [-truncation, truncation]."""
        shape = (n, self.contract.latent.dim)
        if self.contract.latent.distribution == "uniform":
            bound = 1 if truncation is None else min(1, truncation)
            return draws.uniform(-bound, bound, shape).astype(np.float32)
        if truncation is None:
            return draws.standard_normal(shape, np.float32)
        tail = ndtr(-truncation)
        return np.asarray(ndtri(draws.uniform(tail, 1 - tail, shape)), np.float32)

    def one_hot(self, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Labels [n] as [n, classes]; None when unconditional."""
        classes = len(self.contract.classes)
        return np.eye(classes, dtype=np.float32)[labels] if classes else None
