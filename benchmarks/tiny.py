"""Training speed of `tiny` beside a plain 3x3 residual network of the usual widths, on one core.

    python -m benchmarks.tiny

Both play the same game (training.losses, Adam) on 32x32 grey images with ten classes. The figure is images
per second of processor time, so that other work on the machine does not count; the median of the rounds.
"""

import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_loop import plain_step
from training.losses import Objective
from training.r3gan import PRESETS, Discriminator, Generator

RESOLUTION, CHANNELS, CLASSES, BATCH, LATENT = 32, 1, 10, 32, 64
WIDTHS = (128, 96, 64, 32)  # of the plain network, at 4x4, 8x8, 16x16, 32x32
ROUNDS, STEPS = 5, 4
OBJECTIVE = Objective("relativistic-pairing", "r1+r2", 1.0)


class PlainBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))
        return x + branch


class PlainGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(LATENT + CLASSES, WIDTHS[0] * 16)
        layers: list[nn.Module] = [PlainBlock(WIDTHS[0])]
        for before, width in pairwise(WIDTHS):
            layers += [
                nn.Conv2d(before, width, 1),
                nn.Upsample(scale_factor=2, mode="bilinear"),
                PlainBlock(width),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTHS[-1], CHANNELS, 1))

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        images: Tensor = self.layers(self.dense(torch.cat([latent, label], dim=1)).unflatten(1, (-1, 4, 4)))
        return images


class PlainDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(CHANNELS, WIDTHS[-1], 1), PlainBlock(WIDTHS[-1])]
        for before, width in pairwise(WIDTHS[::-1]):
            layers += [nn.AvgPool2d(2), nn.Conv2d(before, width, 1), PlainBlock(width)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[0] * 16, WIDTHS[0]))
        self.embed = nn.Linear(CLASSES, WIDTHS[0], bias=False)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = (self.layers(image) * self.embed(label)).sum(dim=1)
        return logits


def game(generator: nn.Module, discriminator: nn.Module) -> Callable[[], None]:
    """One step of the game, on random images."""
    real = torch.rand(BATCH, CHANNELS, RESOLUTION, RESOLUTION) * 2 - 1
    label = F.one_hot(torch.arange(BATCH) % CLASSES, CLASSES).float()
    return plain_step(
        generator,
        discriminator,
        OBJECTIVE,
        real,
        label,
        latent_dim=LATENT,
        learning_rate=5e-4,
        betas=(0.0, 0.99),
    )


def main() -> None:
    torch.set_num_threads(1)
    shape = (PRESETS["tiny"], RESOLUTION, CHANNELS, CLASSES)
    networks: dict[str, tuple[nn.Module, nn.Module]] = {
        "plain 3x3, 128/96/64/32": (PlainGenerator(), PlainDiscriminator()),
        "tiny": (Generator(*shape), Discriminator(*shape)),
    }
    steps = {name: game(*pair) for name, pair in networks.items()}
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            step()
            start = time.process_time()
            for _ in range(STEPS):
                step()
            speeds[name].append(STEPS * BATCH / (time.process_time() - start))
    peer = statistics.median(speeds["plain 3x3, 128/96/64/32"])
    print(f"torch {torch.__version__}, Python {platform.python_version()}, one core, batch {BATCH}\n")
    print("| networks | parameters | images per processor second | ratio |\n|---|---|---|---|")
    for name, pair in networks.items():
        parameters = sum(weight.numel() for network in pair for weight in network.parameters())
        speed = statistics.median(speeds[name])
        print(f"| {name} | {parameters / 1e6:.2f} M | {speed:.0f} | {speed / peer:.1f} |")


if __name__ == "__main__":
    main()
