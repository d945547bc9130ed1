"""The relativistic pairing game with zero-centred penalties (Huang et al. 2024, arXiv 2501.05441)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DiscriminatorLoss(NamedTuple):
    """Scalars, float32: what is minimised, and the parts that it is made of."""

    total: Tensor
    adversarial: Tensor
    r1: Tensor
    r2: Tensor


def relativistic_pairing(own: Tensor, other: Tensor) -> Tensor:
    """Mean of softplus(other - own): how far `own` is from being judged more real than `other`.

    own, other: logits [batch]; row i of one is paired with row i of the other (Jolicoeur-Martineau 2018,
    arXiv 1807.00734, section 4; R3GAN, equation 2).
    """
    return F.softplus(other - own).mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Squared norm of the gradient of each logit [batch] by its image [batch, C, H, W], as [batch].

    On real images this is R1 (Mescheder et al. 2018, arXiv 1801.04406, section 4.1), on generated ones R2.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def discriminator_loss(
    discriminator: nn.Module, real: Tensor, generated: Tensor, label: Tensor | None, gamma: float
) -> DiscriminatorLoss:
    """The pairing loss and gamma / 2 times each penalty.

    real, generated: [batch, C, H, W] on [-1, 1]; label: [batch, classes], the same for both, so that pairs
    are of one class; None when unconditional.
    """
    images = torch.cat([real, generated]).detach().requires_grad_()
    logits = discriminator(images, None if label is None else label.repeat(2, 1))
    on_real, on_generated = logits.chunk(2)
    adversarial = relativistic_pairing(on_real, on_generated)
    r1, r2 = (half.mean() for half in gradient_penalty(logits, images).chunk(2))
    return DiscriminatorLoss(adversarial + gamma / 2 * (r1 + r2), adversarial, r1, r2)


def generator_loss(discriminator: nn.Module, real: Tensor, generated: Tensor, label: Tensor | None) -> Tensor:
    """The same game with the sides exchanged; shapes as in `discriminator_loss`."""
    with torch.no_grad():
        on_real = discriminator(real, label)
    return relativistic_pairing(discriminator(generated, label), on_real)
