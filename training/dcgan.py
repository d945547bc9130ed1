"""Convolutional networks as Radford et al. 2016 describe them (DCGAN, arXiv 1511.06434, section 3)."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

SLOPE = 0.2
DEVIATION = 0.02


@dataclass(frozen=True)
class Preset:
    """A size of both networks.

    narrow: channels at half the resolution; they double with each halving, up to `wide`.
    """

    latent_dim: int
    narrow: int
    wide: int


# `base` is the paper's own at 64x64. On the right: millions of parameters, and MFLOPs of one image (two a
# multiply-add), of generator and discriminator at 32x32 RGB with 10 classes.
#                latent narrow wide     params (M)   MFLOPs
PRESETS = {
    "tiny":  Preset(100,   32,  256),  # 0.39 0.19   10     9
    "small": Preset(100,   64,  512),  # 1.11 0.70   36    35
    "base":  Preset(100,  128, 1024),  # 3.53 2.72  139   138
}  # fmt: skip


class Generator(nn.Module):
    """Latents and labels to images.

    forward: latent float32 [batch, latent_dim]; label float32 [batch, classes], rows summing to 1, or None
    when unconditional, beside the latent as in Mirza & Osindero 2014, arXiv 1411.1784, section 3.2; gives
    float32 [batch, channels, resolution, resolution] on [-1, 1].
    """

    def __init__(self, preset: Preset, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        widths = _widths(preset, resolution)
        self.latent_dim = preset.latent_dim
        self.classes = classes
        # what normalises needs no bias before it
        self.dense = nn.Linear(preset.latent_dim + classes, widths[0] * 16, bias=False)
        layers: list[nn.Module] = [_batch_norm(widths[0]), nn.ReLU()]
        for before, width in pairwise(widths):
            layers.append(nn.ConvTranspose2d(before, width, 4, 2, 1, bias=False))
            layers += [_batch_norm(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.to_image = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
        _initialize(self)
        with torch.no_grad():
            # a one-hot label then moves the output about as much as the whole latent does
            self.dense.weight[:, preset.latent_dim :] *= math.sqrt(preset.latent_dim)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        inputs = latent if label is None else torch.cat([latent, label], dim=1)
        x = self.dense(inputs).unflatten(1, (-1, 4, 4))
        return torch.tanh(self.to_image(self.layers(x)))


class Discriminator(nn.Module):
    """Images and labels to realness logits; the sigmoid of the paper is part of the losses.

    forward: image float32 [batch, channels, resolution, resolution] on [-1, 1]; label as for the generator;
    gives float32 [batch]. A label enters by projection (Miyato & Koyama 2018, arXiv 1802.05637, section 3).
    With `batch_norm`, which the paper has in all layers but the first, a batch is judged together.
    """

    def __init__(
        self, preset: Preset, resolution: int, channels: int, classes: int, *, batch_norm: bool
    ) -> None:
        super().__init__()
        widths = (channels, *_widths(preset, resolution)[::-1])
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            normalize = batch_norm and bool(layers)
            layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=not normalize))
            if normalize:
                layers.append(nn.BatchNorm2d(width, track_running_stats=False))
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        # the first number is for all images, the others are for those of one class each
        self.dense = nn.Linear(widths[-1] * 16, 1 + classes)
        _initialize(self)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        judged = self.dense(self.layers(image))
        logits: Tensor = judged[:, 0]
        return logits if label is None else logits + (judged[:, 1:] * label).sum(dim=1)


def _widths(preset: Preset, resolution: int) -> tuple[int, ...]:
    """Channels at 4x4, 8x8 and so on, up to half the resolution."""
    sizes = int(math.log2(resolution)) - 2
    return tuple(min(preset.wide, preset.narrow * 2**halvings) for halvings in reversed(range(sizes)))


def _batch_norm(width: int) -> nn.BatchNorm2d:
    # in training it normalises with the batch and keeps nothing (momentum 0): the statistics to draw with
    # belong to the moving average of the weights, and training.normalization measures them there
    return nn.BatchNorm2d(width, momentum=0)


def _initialize(network: nn.Module) -> None:
    """All weights from a normal distribution of standard deviation 0.02, biases 0 (section 4)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=DEVIATION)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
