"""Generator against discriminator: one step of the game, and all the state that it has.

Every draw follows from the seed and the number of images seen, so the state holds no random generators,
and a run that is killed and resumed makes the same draws as one that is not.
"""

import copy
import os
import platform
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training import checkpoint
from training.data import ImageData
from training.losses import Objective, discriminator_loss, generator_loss
from training.networks import PRESETS, Discriminator, Generator, to_pixels, to_signed
from training.normalization import normalize_spectrum, update_spectrum
from training.run import CHECKPOINT_FILE, RunRecord

SAMPLE_COLUMNS = 10


@dataclass
class Progress:
    """How far a run is: real images seen, seconds spent, and on what."""

    images_seen: int = 0
    seconds: float = 0.0
    hardware: str = ""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


class Game:
    """Both networks, the generator's moving average, optimizers and progress."""

    def __init__(self, record: RunRecord, device: torch.device) -> None:
        self.settings = record.hyperparameters
        self.device = device
        self.classes = len(record.data.classes)
        preset = PRESETS[self.settings.preset]
        shape = (preset, self.settings.resolution, record.data.channels, self.classes)
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            self.generator = Generator(*shape).to(device)
            self.discriminator = Discriminator(*shape).to(device)
            if self.settings.normalization == "spectral":
                normalize_spectrum(self.discriminator)
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), betas=self.settings.betas)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), betas=self.settings.betas
        )
        self.progress = Progress()

    def save(self, folder: Path) -> None:
        """Write the run's checkpoint."""
        self.progress.hardware = _hardware(self.device)
        checkpoint.save(folder / CHECKPOINT_FILE, self._parts())

    def load(self, folder: Path) -> None:
        """Go back to the run's checkpoint. Raises CheckpointError."""
        checkpoint.load(folder / CHECKPOINT_FILE, self._parts())

    def step(self, data: ImageData) -> dict[str, Tensor]:
        """Update the discriminator, then the generator, on one batch; gives losses and penalties."""
        settings = self.settings
        seen = self.progress.images_seen
        rows = batch_rows(settings.seed, seen, settings.batch, len(data.images))
        real = to_signed(torch.from_numpy(data.images[rows]).to(self.device))
        label = self._one_hot(data.labels[rows])
        draws = _draws(settings.seed, seen)
        latents = [self._latent(draws) for _ in range(2)]
        mix = torch.rand(settings.batch, generator=draws).to(self.device)
        for optimizer in (self.discriminator_optimizer, self.generator_optimizer):
            rise = min(1, (seen + settings.batch) / max(1, settings.warmup))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rise

        objective = Objective(settings.loss, settings.penalty, settings.gamma)

        update_spectrum(self.discriminator)
        with torch.no_grad():
            generated = self.generator(latents[0], label)
        loss = discriminator_loss(objective, self.discriminator, real, generated, label, mix)
        _descend(self.discriminator_optimizer, loss.total)

        update_spectrum(self.discriminator)
        self.discriminator.requires_grad_(requires_grad=False)
        generated = self.generator(latents[1], label)
        against = generator_loss(objective, self.discriminator, real, generated, label)
        _descend(self.generator_optimizer, against)
        self.discriminator.requires_grad_(requires_grad=True)

        self.progress.images_seen = seen + settings.batch
        self._update_average()
        losses = {"discriminator": loss.adversarial, "generator": against, **loss.penalties}
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def samples(self) -> NDArray[np.uint8]:
        """Pictures of the average [rows * 10, H, W, C]: a row a class, ten rows when unconditional."""
        rows = self.classes or SAMPLE_COLUMNS
        draws = torch.Generator().manual_seed(self.settings.seed)
        shape = (rows * SAMPLE_COLUMNS, self.average.latent_dim)
        latent = torch.randn(shape, generator=draws).to(self.device)
        label = self._one_hot(np.repeat(np.arange(rows), SAMPLE_COLUMNS))
        return to_pixels(self.average(latent, label)).cpu().numpy()

    def _parts(self) -> dict[str, checkpoint.Stateful]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "progress": self.progress,
        }

    def _one_hot(self, labels: NDArray[np.int64]) -> Tensor | None:
        if not self.classes:
            return None
        return F.one_hot(torch.from_numpy(labels), self.classes).float().to(self.device)

    def _latent(self, draws: torch.Generator) -> Tensor:
        shape = (self.settings.batch, self.generator.latent_dim)
        return torch.randn(shape, generator=draws).to(self.device)

    @torch.no_grad()
    def _update_average(self) -> None:
        # early on a shorter half-life, so that the average does not hold the first weights for long
        half_life = min(self.settings.ema, 0.05 * self.progress.images_seen)
        weight = 1 - 0.5 ** (self.settings.batch / half_life)
        for mean, current in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(current, weight)


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


def _draws(seed: int, images_seen: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({model})"
