import pytest
import torch
from torch import nn

from training.dcgan import PRESETS as DCGAN
from training.dcgan import Generator
from training.normalization import measure_statistics, normalize_spectrum, update_spectrum
from training.r3gan import PRESETS, Discriminator


class Deaf(nn.Module):
    """A generator that hears no labels."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, latent: torch.Tensor, _label: torch.Tensor | None) -> torch.Tensor:
        drawn: torch.Tensor = self.layer(latent)
        return drawn


def test_every_linear_map_has_the_norm_1() -> None:
    network = nn.Sequential(nn.Linear(5, 7), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1, bias=False))
    for weight in network.parameters():
        # the power iteration converges as fast as the largest singular value stands out
        nn.init.normal_(weight, mean=1, std=0.1)
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
    network = Discriminator(PRESETS["tiny"], 16, 1, 3)
    normalize_spectrum(network)
    logits = network(torch.randn(4, 1, 16, 16), torch.eye(3)[[0, 1, 2, 0]])
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_the_statistics_to_draw_with_are_the_means_over_the_batches() -> None:
    layer = nn.BatchNorm2d(2, momentum=0)
    batches = [torch.randn(4, 2, 3, 3) * number + number for number in (1, 2, 5)]
    measure_statistics(Deaf(layer), [(batch, None) for batch in batches])
    assert layer.running_mean is not None
    assert layer.running_var is not None
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    assert torch.allclose(layer.running_mean, means, atol=1e-5)
    assert torch.allclose(layer.running_var, variances, rtol=1e-5)
    assert not layer.training


def test_a_generator_draws_by_itself_what_it_draws_in_a_large_batch() -> None:
    generator = Generator(DCGAN["tiny"], 16, 1, 3)
    latents, labels = torch.randn(8, 256, 100), torch.eye(3)[torch.randint(3, (8, 256))]
    measure_statistics(generator, zip(latents, labels, strict=True))
    with torch.no_grad():
        alone = torch.cat(
            [generator(latents[0, :1], labels[0, :1]), generator(latents[0, 1:2], labels[0, 1:2])]
        )
        generator.train()
        together = generator(latents[0], labels[0])[:2]
    assert (alone - together).abs().max() < 0.1 * together.std()
