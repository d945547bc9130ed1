import math

import pytest
import torch
from torch import Tensor, nn

from training.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    relativistic_pairing,
)


class Linear(nn.Module):
    """Logit = the sum over pixels of weight * image: its gradient by the image is the weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, image: Tensor, _label: Tensor | None = None) -> Tensor:
        return (image * self.weight).sum(dim=(1, 2, 3))


class Weighted(nn.Module):
    """Logit = the weight of the image's class times the sum over its pixels: the gradient is that weight."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = torch.tensor(weights)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        return (label @ self.weights) * image.sum(dim=(1, 2, 3))


def test_a_tie_costs_ln_2() -> None:
    logits = torch.tensor([3.0, -1.0])
    assert relativistic_pairing(logits, logits).item() == pytest.approx(math.log(2))


def test_pairs_are_judged_by_their_difference() -> None:
    own, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2
    assert relativistic_pairing(own, other).item() == pytest.approx(expected)
    assert relativistic_pairing(own + 100, other + 100).item() == pytest.approx(expected)


def test_the_penalty_of_a_linear_discriminator_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = gradient_penalty(Linear(weight)(images), images)
    assert torch.allclose(penalty, weight.square().sum().expand(5))


def test_the_penalty_of_a_quadratic_discriminator() -> None:
    # D(x) = |x|^2 / 2 has the gradient x
    images = torch.randn(5, 1, 4, 4, requires_grad=True)
    penalty = gradient_penalty(images.square().sum(dim=(1, 2, 3)) / 2, images)
    assert torch.allclose(penalty, images.square().sum(dim=(1, 2, 3)))


def test_the_discriminator_pays_for_the_game_and_for_both_penalties() -> None:
    weight = torch.full((1, 2, 2), 0.5)  # squared norm 1
    real, generated = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)  # logits 2 and 0
    loss = discriminator_loss(Linear(weight), real, generated, None, gamma=0.6)
    assert loss.adversarial.item() == pytest.approx(math.log1p(math.exp(-2)))
    assert (loss.r1.item(), loss.r2.item()) == pytest.approx((1, 1))
    assert loss.total.item() == pytest.approx(math.log1p(math.exp(-2)) + 0.6)


def test_the_penalty_reaches_the_weights() -> None:
    # d/dw of gamma / 2 * (|w|^2 + |w|^2) is 2 * gamma * w, and a tie has no other gradient
    network = Linear(torch.full((1, 2, 2), 0.5))
    same = torch.ones(4, 1, 2, 2)
    discriminator_loss(network, same, same, None, gamma=0.25).total.backward()  # type: ignore[no-untyped-call]
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, torch.full((1, 2, 2), 2 * 0.25 * 0.5))


def test_no_gradient_flows_from_the_discriminator_to_the_generator() -> None:
    generated = torch.zeros(4, 1, 2, 2, requires_grad=True)
    loss = discriminator_loss(Linear(torch.ones(1, 2, 2)), torch.ones(4, 1, 2, 2), generated, None, 1)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert generated.grad is None


def test_the_generator_plays_the_other_side() -> None:
    network = Linear(torch.full((1, 2, 2), 0.5))
    generated = torch.zeros(4, 1, 2, 2, requires_grad=True)
    loss = generator_loss(network, torch.ones(4, 1, 2, 2), generated, None)
    assert loss.item() == pytest.approx(math.log1p(math.exp(2)))
    loss.backward()  # type: ignore[no-untyped-call]
    # d softplus(2 - w.x) / dx = -sigmoid(2) w, over a batch of 4
    assert generated.grad is not None
    expected = -0.5 / (1 + math.exp(-2)) / 4
    assert torch.allclose(generated.grad, torch.full_like(generated, expected))


def test_both_images_of_a_pair_are_judged_under_their_own_label() -> None:
    weights, label = [1.0, -2.0, 0.5], torch.eye(3)[[2, 0, 1, 0]]
    of_row = [0.5, 1.0, -2.0, 1.0]
    real_sum, generated_sum = [4.0, 2.0, 1.0, -1.0], [1.0, -1.0, 3.0, 0.5]
    real, generated = (
        (torch.tensor(sums) / 4).reshape(4, 1, 1, 1).expand(4, 1, 2, 2) for sums in (real_sum, generated_sum)
    )
    margins = [w * (r - g) for w, r, g in zip(of_row, real_sum, generated_sum, strict=True)]
    penalty = sum(4 * w**2 for w in of_row) / 4  # four pixels

    loss = discriminator_loss(Weighted(weights), real, generated, label, gamma=0.6)
    assert loss.adversarial.item() == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 4)
    assert (loss.r1.item(), loss.r2.item()) == pytest.approx((penalty, penalty))
    against = generator_loss(Weighted(weights), real, generated, label)
    assert against.item() == pytest.approx(sum(math.log1p(math.exp(m)) for m in margins) / 4)
