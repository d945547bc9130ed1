"""Whether an exported generator draws what PyTorch draws: the gate that an export passes."""

from dataclasses import dataclass

import numpy as np
import onnx
import torch

from models.contract import Contract
from models.mistake import Mistake
from training.exported import ExportedGenerator
from training.networks import Generator, to_pixels

PARITY_BATCHES = (1, 7, 64)
PARITY_EQUAL = 0.999


class ParityError(Mistake):
    """ONNX Runtime draws other pictures than PyTorch."""


@dataclass(frozen=True)
class Parity:
    """The difference between two sets of images: in grey levels, and the share of equal pixels."""

    batch: int
    worst: int
    equal: float

    @property
    def holds(self) -> bool:
        return self.worst <= 1 and self.equal >= PARITY_EQUAL

    def __str__(self) -> str:
        apart = f"at most {self.worst} grey levels apart"
        return f"batch {self.batch}: {apart}, {self.equal:.4%} of the pixels equal"


def compare(generator: Generator, model: onnx.ModelProto, contract: Contract, batch: int) -> Parity:
    """ONNX Runtime against PyTorch on fresh latents, in batches of `batch`."""
    exported = ExportedGenerator(model.SerializeToString(), contract)
    draws = np.random.default_rng()
    # many images even in batches of one: a single pixel at the edge of a level is 0.4 % of a 16x16 image
    number = max(PARITY_BATCHES) // batch * batch
    latent = exported.latents(draws, number)
    label = exported.one_hot(draws.integers(max(1, len(contract.classes)), size=number))
    with torch.no_grad():
        expected = to_pixels(
            generator(torch.from_numpy(latent), None if label is None else torch.from_numpy(label))
        ).numpy()
    rows = [slice(start, start + batch) for start in range(0, number, batch)]
    drawn = [exported(latent[part], label if label is None else label[part]) for part in rows]
    difference = np.abs(np.concatenate(drawn).astype(np.int16) - expected)
    return Parity(batch, int(difference.max()), float((difference == 0).mean()))
