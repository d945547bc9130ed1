"""The networks of each architecture, and the pixels that they draw and judge."""

import torch
from torch import Tensor

from training import dcgan, r3gan
from training.normalization import normalize_spectrum

RESOLUTIONS = (16, 32, 64, 128, 256)
PRESETS = tuple(r3gan.PRESETS)
NORMALIZATIONS = ("none", "batch", "spectral")

Generator = r3gan.Generator | dcgan.Generator
Discriminator = r3gan.Discriminator | dcgan.Discriminator


def build(
    architecture: str, preset: str, resolution: int, channels: int, classes: int, normalization: str
) -> tuple[Generator, Discriminator]:
    """New networks for square images of `resolution` pixels and 1 or 3 channels.

    classes: 0 when unconditional; normalization: of the discriminator.
    """
    generator: Generator
    discriminator: Discriminator
    if architecture == "r3gan":
        shape = r3gan.PRESETS[preset], resolution, channels, classes
        generator, discriminator = r3gan.Generator(*shape), r3gan.Discriminator(*shape)
    else:
        size = dcgan.PRESETS[preset], resolution, channels, classes
        generator = dcgan.Generator(*size)
        discriminator = dcgan.Discriminator(*size, batch_norm=normalization == "batch")
    if normalization == "spectral":
        normalize_spectrum(discriminator)
    return generator, discriminator


def to_signed(pixels: Tensor) -> Tensor:
    """Pixels uint8 [batch, H, W, C] as float32 [batch, C, H, W] on [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Images float32 [batch, C, H, W] on [-1, 1] as uint8 [batch, H, W, C], rounded and clamped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
