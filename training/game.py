"""Generator against discriminator: one step of the game, and all the state that it has."""

import copy
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training import checkpoint, processes
from training.augment import Strength, augment
from training.batches import Draws, batch_rows, draw, draw_latents
from training.data import ImageData
from training.hardware import hardware
from training.held_out import Part
from training.losses import LOSSES, Objective, discriminator_loss, generator_loss
from training.networks import build, to_pixels, to_signed
from training.normalization import full_precision_spectrum, measure_statistics, update_spectrum
from training.pictures import Pictures
from training.progress import Progress
from training.run import CHECKPOINT_FILE, RunError, RunRecord
from training.sample_grid import sample_labels

Network = TypeVar("Network", bound=nn.Module)
# the half-life of the average over the images seen, at most: it is not to hold the first weights for long
EMA_RAMP_UP = 0.05
# microbatches whose statistics the average draws with
STATISTICS = 16


class Microbatch(NamedTuple):
    """Real images, their labels and the draws, on the device, that pass through the networks together."""

    real: Tensor
    label: Tensor | None
    draws: Draws


class Game:
    """Both networks, the generator's moving average, optimizers, augmentation and progress."""

    def __init__(self, record: RunRecord, device: torch.device) -> None:
        settings = self.settings = record.hyperparameters
        self.device = device
        self.classes = len(record.data.classes)
        channels = record.data.channels
        with torch.random.fork_rng(devices=()):  # all draws are on the CPU
            torch.manual_seed(settings.seed)
            generator, discriminator = build(
                settings.architecture,
                settings.preset,
                settings.resolution,
                channels,
                self.classes,
                settings.normalization,
            )
        self._bfloat16 = settings.precision == "bfloat16"
        self.generator = _channels_last(generator.to(device))
        self.discriminator = _channels_last(discriminator.to(device))
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False).eval()
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), betas=settings.betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), betas=settings.betas)
        self.strength = Strength(settings.augment)
        self.progress = Progress()
        self._rounds, uneven = divmod(settings.batch, settings.microbatch * processes.count())
        if uneven:
            raise RunError(
                f"{processes.count()} processes cannot share batches of {settings.batch} images in "
                f"microbatches of {settings.microbatch}; choose a batch, microbatches or a number of "
                "processes so that a batch is one microbatch of each, or several"
            )

    def save(self, folder: Path, name: str = CHECKPOINT_FILE) -> None:
        """Write a checkpoint of the run: the newest, or one by another name. Raises OSError."""
        self.progress.hardware = hardware(self.device)
        checkpoint.save(folder / name, self._state())

    def load(self, folder: Path, name: str = CHECKPOINT_FILE) -> None:
        """Go on from that checkpoint, or say that it was the one before. Raises CheckpointError."""
        if news := checkpoint.load(folder / name, self._state()):
            _say(f"{news}, at {self.progress.images_seen:,} images seen")

    def return_to(self, folder: Path, name: str) -> None:
        """Take the state of that checkpoint or the one before, but go on counting, at half the learning rate.

        Raises CheckpointError.
        """
        parts = self._state()
        del parts["progress"]
        if news := checkpoint.load(folder / name, parts):
            _say(news)
        self.progress.returns += 1
        self.progress.returned_at = self.progress.images_seen

    def step(self, data: ImageData | Part) -> dict[str, Tensor]:
        """Update the discriminator, then the generator, on one batch; gives losses and penalties."""
        settings, seen = self.settings, self.progress.images_seen
        share = seen / settings.schedule if settings.schedule else 0.0
        objective = Objective(settings.loss, settings.penalty, settings.gamma.at(share))
        rise = min(1, (seen + settings.batch) / max(1, settings.warmup))
        for optimizer in (self.discriminator_optimizer, self.generator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate.at(share) * rise * self.progress.learning_rate_share

        microbatches = self._microbatches(data)
        losses = self._discriminator_turn(objective, microbatches)
        losses |= self._generator_turn(objective, microbatches)
        self.strength.observe(losses.pop("sign"), settings.batch)
        self.progress.images_seen = seen + settings.batch
        self._update_average(settings.ema.at(share))
        if self.strength.adaptive:
            losses["augmentation"] = torch.tensor(self.strength.value)
        return losses

    def settle(self, data: ImageData | Part) -> None:
        """Measure the statistics that the average draws with, before it draws or is saved."""
        size = STATISTICS * self.settings.microbatch
        labels = data.labels[batch_rows(self.settings.seed, 0, size, len(data.images))]
        random = torch.Generator().manual_seed(self.settings.seed)
        measure_statistics(
            self.average,
            (
                (self._latents(len(part), random), self._one_hot(part))
                for part in np.split(labels, STATISTICS)
            ),
        )

    def samples(self) -> NDArray[np.uint8]:
        """Pictures [rows * 10, H, W, C]: a row a class, ten rows when unconditional."""
        return self.pictures(sample_labels(self.classes))

    @torch.no_grad()
    def pictures(self, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What the average draws for labels [n], always from the same latents, as [n, H, W, C]."""
        latents = self._latents(len(labels), torch.Generator().manual_seed(self.settings.seed))
        drawn = [
            to_pixels(self.average(latents[part], self._one_hot(labels[part]))).cpu()
            for part in self._slices(len(labels))
        ]
        return torch.cat(drawn).numpy()

    @torch.no_grad()
    def logits(self, images: Pictures, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the discriminator gives, [n], for images uint8 [n, H, W, C] and labels [n]."""
        judged = [
            self._discriminate(
                to_signed(torch.tensor(images[part]).to(self.device)), self._one_hot(labels[part])
            )
            for part in self._slices(len(labels))
        ]
        return torch.cat(judged).cpu().numpy()

    def _slices(self, images: int) -> list[slice]:
        """A microbatch at a time: more need more memory, and on a CPU more time for each."""
        size = self.settings.microbatch
        return [slice(start, start + size) for start in range(0, images, size)]

    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        networks = (self.generator, self.discriminator, self.average)
        return all(bool(weight.isfinite().all()) for network in networks for weight in network.parameters())

    def _discriminator_turn(self, objective: Objective, microbatches: list[Microbatch]) -> dict[str, Tensor]:
        update_spectrum(self.discriminator)
        reports = []
        for real, label, draws in microbatches:
            with torch.no_grad():
                generated = self._generate(draws.latents[0], label)
            loss = discriminator_loss(
                objective,
                self._discriminate,
                real,
                generated,
                label,
                draws.mix,
                (
                    partial(self._augment, numbers=draws.augmentation[0]),
                    partial(self._augment, numbers=draws.augmentation[1]),
                ),
            )
            self._backward(loss.total)
            sign = LOSSES[objective.loss].sign(loss.on_real, loss.on_generated)
            reports.append({"discriminator": loss.adversarial, **loss.penalties, "sign": sign})
        return self._update(self.discriminator_optimizer, reports)

    def _generator_turn(self, objective: Objective, microbatches: list[Microbatch]) -> dict[str, Tensor]:
        update_spectrum(self.discriminator)
        self.discriminator.requires_grad_(requires_grad=False)
        reports = []
        for real, label, draws in microbatches:
            loss = generator_loss(
                objective,
                self._discriminate,
                self._augment(real, draws.augmentation[0]),
                self._augment(self._generate(draws.latents[1], label), draws.augmentation[2]),
                label,
            )
            self._backward(loss)
            reports.append({"generator": loss})
        self.discriminator.requires_grad_(requires_grad=True)
        return self._update(self.generator_optimizer, reports)

    def _microbatches(self, data: ImageData | Part) -> list[Microbatch]:
        """This process's share of the batch."""
        settings = self.settings
        latent = (settings.latent, self.generator.latent_dim)
        draws = draw(settings.seed, self.progress.images_seen, settings.batch, len(data.images), latent)
        first = processes.rank() * self._rounds
        starts = [number * settings.microbatch for number in range(first, first + self._rounds)]
        return [self._microbatch(data, draws.part(start, start + settings.microbatch)) for start in starts]

    def _microbatch(self, data: ImageData | Part, draws: Draws) -> Microbatch:
        draws = draws.to(self.device)
        real = to_signed(torch.from_numpy(data.images[draws.rows]).to(self.device))
        if self.settings.mirror:
            real = torch.where(draws.mirrored[:, None, None, None], real.flip(3), real)
        return Microbatch(real, self._one_hot(data.labels[draws.rows]), draws)

    def _generate(self, latent: Tensor, label: Tensor | None) -> Tensor:
        with self._autocast():
            images: Tensor = self.generator(latent, label)
        return images.float() if self._bfloat16 else images

    def _discriminate(self, images: Tensor, label: Tensor | None) -> Tensor:
        with full_precision_spectrum(self.discriminator), self._autocast():
            logits: Tensor = self.discriminator(images.contiguous(memory_format=torch.channels_last), label)
        return logits.float() if self._bfloat16 else logits

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)

    def _augment(self, images: Tensor, numbers: Tensor) -> Tensor:
        return augment(images, numbers, self.strength.value)

    def _backward(self, loss: Tensor) -> None:
        (loss * (self.settings.microbatch / self.settings.batch)).backward()  # type: ignore[no-untyped-call]

    def _update(
        self, optimizer: torch.optim.Optimizer, reports: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Step along the gradients of all microbatches of all processes; gives the means of their reports."""
        share = self.settings.microbatch / self.settings.batch
        means = {
            name: torch.stack([report[name].detach() for report in reports]).sum() * share
            for name in reports[0]
        }
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        processes.add_up([*(weight.grad for weight in weights if weight.grad is not None), *means.values()])
        optimizer.step()
        optimizer.zero_grad()
        return means

    def _state(self) -> dict[str, checkpoint.Stateful]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "augmentation": self.strength,
            "progress": self.progress,
        }

    def _latents(self, number: int, random: torch.Generator) -> Tensor:
        return draw_latents(self.settings.latent, self.average.latent_dim, number, random).to(self.device)

    def _one_hot(self, labels: NDArray[np.int64]) -> Tensor | None:
        if not self.classes:
            return None
        return F.one_hot(torch.from_numpy(labels), self.classes).float().to(self.device)

    @torch.no_grad()
    def _update_average(self, half_life: float) -> None:
        half_life = min(half_life, EMA_RAMP_UP * self.progress.images_seen)
        weight = 1 - 0.5 ** (self.settings.batch / half_life)
        for mean, current in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(current, weight)


def _say(news: str) -> None:
    if processes.is_first():
        print(f"ganserve: {news}", file=sys.stderr)


def _channels_last(network: Network) -> Network:
    """The channels of a pixel side by side, as tensor cores and the CPU's convolutions read them fastest."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]  # torch's stubs lag
