import inspect
import re
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from training import dcgan, r3gan
from training.networks import PRESETS, RESOLUTIONS, build, to_pixels, to_signed

ARCHITECTURES = {"r3gan": r3gan, "dcgan": dcgan}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 0), (3, 4)])
@pytest.mark.parametrize(
    ("architecture", "normalization"),
    [("r3gan", "none"), ("r3gan", "spectral"), ("dcgan", "none"), ("dcgan", "batch"), ("dcgan", "spectral")],
)
def test_shapes(architecture: str, normalization: str, resolution: int, channels: int, classes: int) -> None:
    generator, discriminator = build(architecture, "tiny", resolution, channels, classes, normalization)
    label = torch.eye(4)[:2] if classes else None
    with torch.no_grad():
        images = generator(torch.randn(2, generator.latent_dim), label)
        assert images.shape == (2, channels, resolution, resolution)
        logits = discriminator(images, label)
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("module", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_the_table_of_presets_tells_the_truth(module: ModuleType) -> None:
    rows = re.findall(r'"(\w+)": +Preset\(.*# +([\d.]+) +([\d.]+) +(\d+) +(\d+)', inspect.getsource(module))
    architecture = module.__name__.rpartition(".")[2]
    assert tuple(row[0] for row in rows) == tuple(module.PRESETS) == PRESETS
    for name, *told in rows:
        networks = build(architecture, name, 32, 3, 10, "none")
        label, latent = torch.eye(10)[:1], torch.zeros(1, networks[0].latent_dim)
        with torch.no_grad(), FlopCounterMode(display=False) as made:
            image = networks[0](latent, label)
        with torch.no_grad(), FlopCounterMode(display=False) as judged:
            networks[1](image, label)
        found = [
            f"{sum(weight.numel() for weight in network.parameters()) / 1e6:.2f}" for network in networks
        ] + [f"{counter.get_total_flops() / 1e6:.0f}" for counter in (made, judged)]
        assert told == found, name


@given(st.integers(0, 2**32 - 1))
def test_pixels_survive_the_way_to_the_networks_and_back(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert (to_pixels(to_signed(torch.from_numpy(pixels))).numpy() == pixels).all()


def test_pixels_beyond_the_range_are_clamped() -> None:
    images = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 1, 5)
    assert to_pixels(images).flatten().tolist() == [0, 0, 128, 255, 255]  # 127.5 rounds to even
