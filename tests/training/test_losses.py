import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from training.losses import LOSSES, Objective, discriminator_loss, generator_loss, relativistic_pairing

R3GAN = Objective("relativistic-pairing", "r1+r2", 0.6)
MIX = torch.full((4,), 0.25)


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


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def both_sides(name: str, on_real: list[float], on_generated: list[float]) -> tuple[float, float]:
    loss = LOSSES[name]
    real, generated = (torch.tensor(logits, dtype=torch.float32) for logits in (on_real, on_generated))
    against = loss.generator(generated, real) if loss.paired else loss.generator(generated)
    return loss.discriminator(real, generated).item(), against.item()


# Worked out by hand for the logits 1 and 3 of real images, and -1 and 0.5 of generated ones.
BY_HAND = {
    "minimax": (
        (-math.log(sigmoid(1)) - math.log(sigmoid(3))) / 2
        + (-math.log(1 - sigmoid(-1)) - math.log(1 - sigmoid(0.5))) / 2,
        (math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(0.5))) / 2,
    ),
    "non-saturating": (
        (-math.log(sigmoid(1)) - math.log(sigmoid(3))) / 2
        + (-math.log(1 - sigmoid(-1)) - math.log(1 - sigmoid(0.5))) / 2,
        (-math.log(sigmoid(-1)) - math.log(sigmoid(0.5))) / 2,
    ),
    "least-squares": ((0 + 4) / 4 + (1 + 0.25) / 4, (4 + 0.25) / 4),
    "hinge": (0 + (0 + 1.5) / 2, 0.25),
    "wasserstein": (-0.25 - 2, 0.25),
    "relativistic-pairing": (
        (math.log1p(math.exp(-2)) + math.log1p(math.exp(-2.5))) / 2,
        (math.log1p(math.exp(2)) + math.log1p(math.exp(2.5))) / 2,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_by_hand(name: str) -> None:
    assert both_sides(name, [1, 3], [-1, 0.5]) == pytest.approx(BY_HAND[name], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("minimax", 2 * math.log(2), -math.log(2)),  # the equilibrium of Goodfellow et al. 2014, theorem 1
        ("non-saturating", 2 * math.log(2), math.log(2)),
        ("least-squares", 0.5, 0.5),
        ("hinge", 2, 0),
        ("wasserstein", 0, 0),
        ("relativistic-pairing", math.log(2), math.log(2)),
    ],
)
def test_logits_of_0(name: str, discriminator: float, generator: float) -> None:
    assert both_sides(name, [0, 0], [0, 0]) == pytest.approx((discriminator, generator))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6), st.floats(-50, 50))
def test_minimax_is_a_zero_sum_game(on_generated: list[float], real: float) -> None:
    """What one player gains by other generated images, the other loses."""
    few, many = [0.0] * len(on_generated), on_generated
    lost = [both_sides("minimax", [real], logits) for logits in (few, many)]
    assert lost[1][0] - lost[0][0] == pytest.approx(lost[0][1] - lost[1][1], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("minimax", -sigmoid(-6)),  # saturates: log(1 - D) is flat where the discriminator is sure
        ("non-saturating", -sigmoid(6)),
        ("least-squares", -6 - 1),
        ("hinge", -1),
        ("wasserstein", -1),
        ("relativistic-pairing", -sigmoid(8)),  # against a real image judged 2
    ],
)
def test_the_slope_of_the_generator_where_the_discriminator_is_sure(name: str, slope: float) -> None:
    logit = torch.tensor([-6.0], requires_grad=True)
    loss = LOSSES[name]
    value = loss.generator(logit, torch.tensor([2.0])) if loss.paired else loss.generator(logit)
    value.backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name: str) -> None:
    assert all(map(math.isfinite, both_sides(name, [-200, 200], [200, -200])))


def test_pairs_are_judged_by_their_difference() -> None:
    own, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2
    assert relativistic_pairing(own, other).item() == pytest.approx(expected)
    assert relativistic_pairing(own + 100, other + 100).item() == pytest.approx(expected)


def test_the_discriminator_pays_for_the_game_and_for_both_penalties() -> None:
    weight = torch.full((1, 2, 2), 0.5)  # squared norm 1
    real, generated = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)  # logits 2 and 0
    loss = discriminator_loss(R3GAN, Linear(weight), real, generated, None, MIX)
    assert loss.adversarial.item() == pytest.approx(math.log1p(math.exp(-2)))
    assert {name: value.item() for name, value in loss.penalties.items()} == pytest.approx({"r1": 1, "r2": 1})
    assert loss.total.item() == pytest.approx(math.log1p(math.exp(-2)) + 0.6)
    assert (loss.on_real.tolist(), loss.on_generated.tolist()) == ([2] * 4, [0] * 4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("penalty", "price"),
    [("none", 0), ("r1", 4 / 2), ("r2", 4 / 2), ("r1+r2", 4), ("wgan-gp", (2 - 1) ** 2)],
)
def test_any_loss_pays_any_penalty(name: str, penalty: str, price: float) -> None:
    """The gradient of a linear discriminator has the norm 2 everywhere."""
    network = Linear(torch.full((1, 2, 2), 1.0))
    real, generated = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    loss = discriminator_loss(Objective(name, penalty, 0.3), network, real, generated, None, MIX)
    assert loss.adversarial.item() == pytest.approx(
        LOSSES[name].discriminator(network(real), network(generated)).item()
    )
    assert loss.total.item() == pytest.approx(loss.adversarial.item() + 0.3 * price, abs=1e-5)
    assert set(loss.penalties) == set(penalty.split("+")) - {"none"}


@pytest.mark.parametrize(
    ("penalty", "price"),
    # the norm 2 of a linear discriminator, times the slope of the view
    [("r1", (2 * 3) ** 2 / 2), ("r2", (2 * 0.5) ** 2 / 2), ("wgan-gp", (2 * 3 - 1) ** 2)],
)
def test_penalties_are_by_the_images_and_not_by_what_is_seen_of_them(penalty: str, price: float) -> None:
    network = Linear(torch.full((1, 2, 2), 1.0))
    real, generated = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    views = (lambda images: 3 * images), (lambda images: 0.5 * images + 1)
    loss = discriminator_loss(Objective("hinge", penalty, 1), network, real, generated, None, MIX, views)
    assert loss.on_real.equal(network(3 * real))
    assert loss.on_generated.equal(network(0.5 * generated + 1))
    assert loss.total.item() - loss.adversarial.item() == pytest.approx(price, rel=1e-5)


def test_the_penalty_reaches_the_weights() -> None:
    # d/dw of gamma / 2 * (|w|^2 + |w|^2) is 2 * gamma * w, and a tie has no other gradient
    network = Linear(torch.full((1, 2, 2), 0.5))
    same = torch.ones(4, 1, 2, 2)
    discriminator_loss(R3GAN, network, same, same, None, MIX).total.backward()  # type: ignore[no-untyped-call]
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, torch.full((1, 2, 2), 2 * 0.6 * 0.5))


@pytest.mark.parametrize("penalty", ["none", "r1+r2", "wgan-gp"])
def test_no_gradient_flows_from_the_discriminator_to_the_generator(penalty: str) -> None:
    generated = torch.zeros(4, 1, 2, 2, requires_grad=True)
    objective = Objective("wasserstein", penalty, 1)
    loss = discriminator_loss(
        objective, Linear(torch.ones(1, 2, 2)), torch.ones(4, 1, 2, 2), generated, None, MIX
    )
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert generated.grad is None


def test_the_generator_plays_the_other_side() -> None:
    network = Linear(torch.full((1, 2, 2), 0.5))
    generated = torch.zeros(4, 1, 2, 2, requires_grad=True)
    loss = generator_loss(R3GAN, network, torch.ones(4, 1, 2, 2), generated, None)
    assert loss.item() == pytest.approx(math.log1p(math.exp(2)))
    loss.backward()  # type: ignore[no-untyped-call]
    # d softplus(2 - w.x) / dx = -sigmoid(2) w, over a batch of 4
    assert generated.grad is not None
    assert torch.allclose(generated.grad, torch.full_like(generated, -0.5 * sigmoid(2) / 4))


def test_both_images_of_a_pair_are_judged_under_their_own_label() -> None:
    weights, label = [1.0, -2.0, 0.5], torch.eye(3)[[2, 0, 1, 0]]
    of_row = [0.5, 1.0, -2.0, 1.0]
    real_sum, generated_sum = [4.0, 2.0, 1.0, -1.0], [1.0, -1.0, 3.0, 0.5]
    real, generated = (
        (torch.tensor(sums) / 4).reshape(4, 1, 1, 1).expand(4, 1, 2, 2) for sums in (real_sum, generated_sum)
    )
    margins = [w * (r - g) for w, r, g in zip(of_row, real_sum, generated_sum, strict=True)]
    penalty = sum(4 * w**2 for w in of_row) / 4  # four pixels

    loss = discriminator_loss(R3GAN, Weighted(weights), real, generated, label, MIX)
    assert loss.adversarial.item() == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 4)
    assert {name: value.item() for name, value in loss.penalties.items()} == pytest.approx(
        {"r1": penalty, "r2": penalty}
    )
    against = generator_loss(R3GAN, Weighted(weights), real, generated, label)
    assert against.item() == pytest.approx(sum(math.log1p(math.exp(m)) for m in margins) / 4)
