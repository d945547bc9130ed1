"""What the steps of a game are played with: which images, and every random number.

All follow from the seed and the number of images seen, so no random generator has a state to keep: a run that
is killed and resumed makes the same draws as one that is not, and so do several processes.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import NUMBERS


class Draws(NamedTuple):
    """Of one step, or of some rows of it.

    rows: int64 [n] of the data; latents: [2, n, dim], for the discriminator's turn and for the generator's;
    mix: [n] on [0, 1); mirrored: bool [n]; augmentation: [3, n, NUMBERS] on [0, 1), of the real images and of
    the generated ones of both turns.
    """

    rows: NDArray[np.int64]
    latents: Tensor
    mix: Tensor
    mirrored: Tensor
    augmentation: Tensor

    def part(self, start: int, stop: int) -> "Draws":
        """Those of the rows [start, stop)."""
        chosen = slice(start, stop)
        return Draws(
            self.rows[chosen],
            self.latents[:, chosen],
            self.mix[chosen],
            self.mirrored[chosen],
            self.augmentation[:, chosen],
        )

    def to(self, device: torch.device) -> "Draws":
        """The same with all random numbers on a device."""
        return Draws(self.rows, *(numbers.to(device) for numbers in self[1:]))


def draw(seed: int, images_seen: int, batch: int, size: int, latent: tuple[str, int]) -> Draws:
    """Those of a whole batch, after `images_seen` images of a data set of `size` images."""
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)
    random = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    return Draws(
        rows=batch_rows(seed, images_seen, batch, size),
        latents=torch.stack([draw_latents(*latent, batch, random) for _ in range(2)]),
        mix=torch.rand(batch, generator=random),
        mirrored=torch.rand(batch, generator=random) < 0.5,
        augmentation=torch.rand(3, batch, NUMBERS, generator=random),
    )


def draw_latents(distribution: str, dim: int, number: int, random: torch.Generator) -> Tensor:
    """Latents [number, dim], standard normal or uniform on [-1, 1)."""
    if distribution == "uniform":
        return torch.rand(number, dim, generator=random) * 2 - 1
    return torch.randn(number, dim, generator=random)


def batch_rows(seed: int, images_seen: int, batch: int, size: int) -> NDArray[np.int64]:
    """The rows [batch] of a data set of `size` images that come after `images_seen` images.

    Each epoch is a permutation of its own; a batch may reach from one into the next.
    """
    places = np.arange(images_seen, images_seen + batch)
    epochs = places // size
    rows = [
        _permutation(seed, int(epoch), size)[places[epochs == epoch] % size] for epoch in np.unique(epochs)
    ]
    return np.concatenate(rows)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)
