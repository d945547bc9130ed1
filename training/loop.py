"""The training loop. Progress counts images, and every draw follows from the seed and that count alone.

So a run that is killed and resumed makes the same draws as one that is not.
"""

import copy
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from training.losses import discriminator_loss, generator_loss
from training.monitor import Monitor, sample_grid
from training.networks import PRESETS, Discriminator, Generator
from training.run import CHECKPOINT_FILE, Hyperparameters

SAMPLE_COLUMNS = 10
SAMPLES_FOLDER = "samples"


@dataclass
class Progress:
    """How far a run is: images seen by the discriminator, and seconds spent."""

    images_seen: int = 0
    seconds: float = 0.0
    hardware: str = ""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.__init__(**state_dict)  # type: ignore[misc]


class Game:
    """Generator against discriminator: networks, their moving average, optimizers and progress."""

    def __init__(
        self, hyperparameters: Hyperparameters, channels: int, classes: int, device: torch.device
    ) -> None:
        self.hyperparameters = hyperparameters
        self.device = device
        self.classes = classes
        shape = (PRESETS[hyperparameters.preset], hyperparameters.resolution, channels, classes)
        with torch.random.fork_rng():
            torch.manual_seed(hyperparameters.seed)
            self.generator = Generator(*shape).to(device)
            self.discriminator = Discriminator(*shape).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator_optimizer = _optimizer(self.generator)
        self.discriminator_optimizer = _optimizer(self.discriminator)
        self.progress = Progress()

    def parts(self) -> dict[str, checkpoint.Stateful]:
        """What a checkpoint holds."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "progress": self.progress,
        }

    def step(self, data: ImageData) -> dict[str, Tensor]:
        """Update the discriminator, then the generator, on one batch; gives losses and penalties."""
        settings = self.hyperparameters
        seen = self.progress.images_seen
        rows = batch_rows(settings.seed, seen, settings.batch, len(data.images))
        real = to_signed(torch.from_numpy(data.images[rows]).to(self.device))
        label = self.one_hot(data.labels[rows])
        draws = _draws(settings.seed, seen)
        for optimizer in (self.discriminator_optimizer, self.generator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(1, (seen + settings.batch) / max(1, settings.warmup))

        with torch.no_grad():
            generated = self.generator(self._latent(draws), label)
        loss = discriminator_loss(self.discriminator, real, generated, label, settings.gamma)
        self.discriminator_optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()

        self.discriminator.requires_grad_(False)
        generator = generator_loss(self.discriminator, real, self.generator(self._latent(draws), label), label)
        self.generator_optimizer.zero_grad()
        generator.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(True)

        self.progress.images_seen = seen + settings.batch
        self._update_average()
        return {
            "discriminator": loss.adversarial.detach(),
            "generator": generator.detach(),
            "r1": loss.r1.detach(),
            "r2": loss.r2.detach(),
        }

    @torch.no_grad()
    def samples(self) -> NDArray[np.uint8]:
        """Pictures of the moving average [rows * 10, H, W, C]: one row a class, ten rows when unconditional."""
        rows = self.classes or SAMPLE_COLUMNS
        draws = torch.Generator().manual_seed(self.hyperparameters.seed)
        latent = torch.randn(rows * SAMPLE_COLUMNS, self.average.latent_dim, generator=draws).to(self.device)
        label = self.one_hot(np.repeat(np.arange(rows), SAMPLE_COLUMNS))
        return to_pixels(self.average(latent, label)).cpu().numpy()

    def one_hot(self, labels: NDArray[np.int64]) -> Tensor | None:
        """Labels [batch] as float32 [batch, classes]; None when unconditional."""
        if not self.classes:
            return None
        return F.one_hot(torch.from_numpy(labels), self.classes).float().to(self.device)

    def _latent(self, draws: torch.Generator) -> Tensor:
        shape = (self.hyperparameters.batch, self.generator.latent_dim)
        return torch.randn(shape, generator=draws).to(self.device)

    @torch.no_grad()
    def _update_average(self) -> None:
        # early on a shorter half-life, so that the average does not hold the first weights for long
        half_life = min(self.hyperparameters.ema, 0.05 * self.progress.images_seen)
        weight = 1 - 0.5 ** (self.hyperparameters.batch / half_life)
        for mean, current in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(current, weight)


def train(game: Game, data: ImageData, folder: Path, images: int, snapshot: int) -> signal.Signals | None:
    """Train until `images` were seen, in `folder`; every `snapshot` images, a checkpoint and a sample grid.

    SIGINT and SIGTERM save a checkpoint and end the training; the signal is then returned.
    """
    progress = game.progress
    sums: dict[str, Tensor] = {}
    first = progress.images_seen
    with Monitor(folder, first, images) as monitor, _signals() as received:
        while progress.images_seen < images and not received:
            start = time.perf_counter()
            for name, value in game.step(data).items():
                sums[name] = sums.get(name, torch.zeros(())) + value.cpu() * game.hyperparameters.batch
            progress.seconds += time.perf_counter() - start
            monitor.advance(game.hyperparameters.batch)
            last = progress.images_seen >= images or bool(received)
            if last or progress.images_seen // snapshot > first // snapshot:
                seen = progress.images_seen
                monitor.record(seen, {name: float(total) / (seen - first) for name, total in sums.items()})
                grid = sample_grid(game.samples(), SAMPLE_COLUMNS)
                monitor.show(seen, grid, folder / SAMPLES_FOLDER / f"{seen:09d}.png")
                checkpoint.save(folder / CHECKPOINT_FILE, game.parts())
                sums, first = {}, seen
        if sums:
            checkpoint.save(folder / CHECKPOINT_FILE, game.parts())
    return received[0] if received else None


def batch_rows(seed: int, images_seen: int, batch: int, size: int) -> NDArray[np.int64]:
    """The rows of the data set, of `size` images, that the batch after `images_seen` images holds.

    Each epoch is a permutation of its own; a batch may reach from one into the next.
    """
    places = np.arange(images_seen, images_seen + batch)
    rows = [_permutation(seed, int(epoch), size)[places[places // size == epoch] % size]
            for epoch in np.unique(places // size)]  # fmt: skip
    return np.concatenate(rows)


def to_signed(pixels: Tensor) -> Tensor:
    """Pixels uint8 [batch, H, W, C] as float32 [batch, C, H, W] on [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Images float32 [batch, C, H, W] as uint8 [batch, H, W, C]: what `to_signed` undoes, rounded and clamped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)


def _draws(seed: int, images_seen: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _optimizer(network: torch.nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), betas=(0.0, 0.99))


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """The signals that ask to stop, as they arrive."""
    received: list[signal.Signals] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(signal.Signals(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
