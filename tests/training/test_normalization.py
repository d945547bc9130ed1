import pytest
import torch
from torch import nn

from training.networks import PRESETS, Discriminator
from training.normalization import normalize_spectrum, update_spectrum


def test_every_linear_map_has_the_norm_1() -> None:
    network = nn.Sequential(nn.Linear(5, 7), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1, bias=False))
    bias = network[0].bias
    normalize_spectrum(network)
    for _ in range(200):
        update_spectrum(network)
    for layer in network:
        assert isinstance(layer.weight, torch.Tensor)
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-4)
    assert network[0].bias is bias


def test_the_norm_is_followed_while_the_weight_moves() -> None:
    layer = nn.Linear(6, 6, bias=False)
    normalize_spectrum(layer)
    with torch.no_grad():
        layer.parametrizations["weight"].original.copy_(torch.diag(torch.tensor([1.0, 2, 3, 4, 5, 9])))  # type: ignore[index, union-attr]
    for _ in range(100):
        update_spectrum(layer)
    assert torch.allclose(layer.weight.diagonal(), torch.tensor([1.0, 2, 3, 4, 5, 9]) / 9, atol=1e-5)


def test_reading_the_weight_does_not_change_it() -> None:
    layer = nn.Linear(6, 6)
    normalize_spectrum(layer)
    images = torch.randn(3, 6)
    assert torch.equal(layer(images), layer(images))


def test_weights_that_begin_as_zero_are_drawn_anew() -> None:
    torch.manual_seed(0)
    network = Discriminator(PRESETS["tiny"], 16, 1, 3)
    normalize_spectrum(network)
    logits = network(torch.randn(4, 1, 16, 16), torch.eye(3)[[0, 1, 2, 0]])
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
