"""Residual networks in the manner of R3GAN (Huang et al. 2024, arXiv 2501.05441, section 4)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2


@dataclass(frozen=True)
class Preset:
    """A shape of both networks.

    widths: channels at 4x4, 8x8, 16x16 and so on, as many as the resolution needs.
    patch: side, in pixels, of the square that one position of the largest feature map stands for.
    blocks: residual blocks at each size; expansion: their inner width over their outer width.
    group_width: channels in a group of the 3x3 convolutions.
    """

    latent_dim: int
    patch: int
    blocks: int
    expansion: int
    group_width: int
    widths: tuple[int, ...]


# On the right: millions of parameters, and MFLOPs of one image (two a multiply-add), of generator and
# discriminator at 32x32 RGB with 10 classes.
#                latent patch blocks exp. group  widths                                  params (M)   MFLOPs
PRESETS = {
    "tiny":  Preset(  64,    2,    1,    1,   16, (192, 128, 32, 32, 16, 16)),        # 0.42 0.23   17    15
    "small": Preset(  64,    1,    1,    2,   16, (256, 192, 128, 64, 32, 32, 16)),   # 1.07 0.83  170   170
    "base":  Preset(  64,    1,    2,    2,   32, (512, 512, 384, 256, 128, 64, 32)), # 9.00 8.66 3025  3024
}  # fmt: skip


class ResidualBlock(nn.Module):
    """x + 1x1(act(grouped 3x3(act(1x1(x))))), the last convolution zero at the start.

    The other two are scaled by blocks^(-1/4) so that the depth of the network does not scale its
    output (Fixup, Zhang et al. 2019, arXiv 1901.09321, section 3, with three layers a branch).
    """

    def __init__(self, width: int, preset: Preset, blocks: int) -> None:
        super().__init__()
        inner = width * preset.expansion
        gain = math.sqrt(2 / (1 + SLOPE**2)) * blocks**-0.25
        self.expand = _convolution(width, inner, 1, gain=gain)
        self.mix = _convolution(inner, inner, 3, gain=gain, groups=max(1, inner // preset.group_width))
        self.project = _convolution(inner, width, 1, gain=0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.expand(x), SLOPE)
        hidden = F.leaky_relu(self.mix(hidden), SLOPE)
        projected: Tensor = self.project(hidden)
        return x + projected


class Generator(nn.Module):
    """Latents and labels to images.

    forward: latent float32 [batch, latent_dim], standard normal; label float32 [batch, classes], rows summing
    to 1, or None when unconditional; gives float32 [batch, channels, resolution, resolution] where the
    data lies on [-1, 1], not clamped.
    """

    def __init__(self, preset: Preset, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        widths = _widths(preset, resolution)
        self.latent_dim = preset.latent_dim
        self.classes = classes
        self.patch = preset.patch
        self.dense = nn.Linear(preset.latent_dim + classes, widths[0] * 16)
        nn.init.normal_(self.dense.weight, std=1 / math.sqrt(2 * preset.latent_dim))
        nn.init.zeros_(self.dense.bias)
        with torch.no_grad():
            # a one-hot label then moves the output as much as the whole latent does
            self.dense.weight[:, preset.latent_dim :] *= math.sqrt(preset.latent_dim)
        layers: list[nn.Module] = []
        for before, width in zip((None, *widths), widths, strict=False):
            if before is not None:
                # the convolution first: it commutes with the resampling and is four times cheaper there
                layers.append(_convolution(before, width, 1, bias=False))
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            layers += [
                ResidualBlock(width, preset, preset.blocks * len(widths)) for _ in range(preset.blocks)
            ]
        self.layers = nn.Sequential(*layers)
        self.to_image = _convolution(widths[-1], channels * self.patch**2, 1 if self.patch == 1 else 3)
        with torch.no_grad():
            # all pixels of a patch begin alike: no chequered pattern (Aitken et al. 2017, arXiv 1707.02937)
            first = self.to_image.weight[:: self.patch**2]
            self.to_image.weight.copy_(first.repeat_interleave(self.patch**2, dim=0))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        inputs = latent if label is None else torch.cat([latent, label], dim=1)
        x = self.dense(inputs).unflatten(1, (-1, 4, 4))
        x = self.to_image(self.layers(x))
        return F.pixel_shuffle(x, self.patch) if self.patch > 1 else x


class Discriminator(nn.Module):
    """Images and labels to realness logits.

    forward: image float32 [batch, channels, resolution, resolution] on [-1, 1]; label as for the generator;
    gives float32 [batch]. A label enters by projection (Miyato & Koyama 2018, arXiv 1802.05637, section 3).
    """

    def __init__(self, preset: Preset, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        widths = _widths(preset, resolution)
        patch = preset.patch
        self.from_image = _convolution(channels, widths[-1], 2 * patch if patch > 1 else 1, stride=patch)
        layers: list[nn.Module] = []
        for width, after in zip(widths[::-1], (*widths[-2::-1], None), strict=True):
            layers += [
                ResidualBlock(width, preset, preset.blocks * len(widths)) for _ in range(preset.blocks)
            ]
            if after is not None:
                layers.append(nn.AvgPool2d(2))  # at this scale bilinear resampling is the mean of four
                layers.append(_convolution(width, after, 1, bias=False))
        self.layers = nn.Sequential(*layers)
        # a depthwise 4x4 convolution as a product: autograd is slow at that convolution's second derivative
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4) / 4)
        self.dense = nn.Linear(widths[0], widths[0] if classes else 1)
        nn.init.normal_(self.dense.weight, std=1 / math.sqrt(widths[0]))
        nn.init.zeros_(self.dense.bias)
        self.embed = nn.Linear(classes, widths[0], bias=False) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=1 / math.sqrt(widths[0]))

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.layers(self.from_image(image))
        x = self.dense((x * self.basis).sum(dim=(2, 3)))
        if self.embed is not None:
            x = x * self.embed(label)
        logits: Tensor = x.sum(dim=1)
        return logits


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    gain: float = 1,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution that scales the standard deviation of white noise by `gain` at the start."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _widths(preset: Preset, resolution: int) -> tuple[int, ...]:
    return preset.widths[: int(math.log2(resolution // preset.patch)) - 1]
