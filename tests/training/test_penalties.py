import pytest
import torch
from torch import Tensor

from training.penalties import one_centred, zero_centred


def half_square(images: Tensor, _label: Tensor | None = None) -> Tensor:
    """|x|^2 / 2, whose gradient is x."""
    return images.square().sum(dim=(1, 2, 3)) / 2


def test_the_zero_centred_penalty_of_a_linear_discriminator_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = zero_centred((images * weight).sum(dim=(1, 2, 3)), images)
    assert torch.allclose(penalty, weight.square().sum())


def test_the_zero_centred_penalty_of_a_quadratic_discriminator() -> None:
    images = torch.randn(5, 1, 4, 4, requires_grad=True)
    penalty = zero_centred(half_square(images), images)
    assert torch.allclose(penalty, images.square().sum(dim=(1, 2, 3)).mean())


def test_the_one_centred_penalty_looks_between_the_images() -> None:
    real, generated = torch.full((3, 1, 2, 2), 1.0), torch.full((3, 1, 2, 2), 2.0)
    # at 1, 1.25 and 2 in each of four pixels the gradients have the norms 2, 2.5 and 4
    penalty = one_centred(half_square, real, generated, None, torch.tensor([0, 0.25, 1]))
    assert penalty.item() == pytest.approx((1**2 + 1.5**2 + 3**2) / 3)


def test_the_one_centred_penalty_of_a_flat_discriminator_has_a_finite_slope() -> None:
    scale = torch.zeros((), requires_grad=True)
    images = torch.ones(2, 1, 2, 2)
    penalty = one_centred(lambda x, label: scale * half_square(x, label), images, images, None, torch.ones(2))
    penalty.backward()  # type: ignore[no-untyped-call]
    assert penalty.item() == 1
    assert scale.grad is not None
    assert torch.isfinite(scale.grad)


def test_each_image_is_judged_under_its_own_label() -> None:
    label = torch.eye(2)
    penalty = one_centred(
        lambda x, one_hot: (one_hot @ torch.tensor([1.0, 3.0])) * x.sum(dim=(1, 2, 3)),  # type: ignore[operator]
        torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1), label, torch.rand(2),
    )  # fmt: skip
    assert penalty.item() == pytest.approx((0**2 + 2**2) / 2)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_slope_of_the_penalty_by_the_weights(weight: float) -> None:
    # of (2 |w| - 1)^2 for a gradient of w in each of four pixels
    parameter = torch.tensor(weight, requires_grad=True)
    images = torch.randn(6, 1, 2, 2)
    one_centred(
        lambda x, _: parameter * x.sum(dim=(1, 2, 3)), images, images + 1, None, torch.rand(6)
    ).backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx(2 * (2 * weight - 1) * 2, abs=1e-5)
