"""Penalties on the gradient of the discriminator's logits by its images."""

from collections.abc import Callable

import torch
from torch import Tensor

# images [batch, C, H, W] and labels [batch, classes] or None to logits [batch]
Discriminator = Callable[[Tensor, Tensor | None], Tensor]


def zero_centred(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the gradient of each logit [batch] by its image [batch, C, H, W].

    On real images this is R1, on generated ones R2 (Mescheder et al. 2018, arXiv 1801.04406, section 4.1).
    """
    return _gradient(logits, images).square().sum(dim=1).mean()


def one_centred(
    discriminator: Discriminator, real: Tensor, generated: Tensor, label: Tensor | None, mix: Tensor
) -> Tensor:
    """Mean of (|gradient| - 1)^2 at real + mix * (generated - real), mix [batch] on [0, 1].

    Gulrajani et al. 2017, arXiv 1704.00028, equation 3.
    """
    between = torch.lerp(real, generated, mix[:, None, None, None]).detach().requires_grad_()
    gradient = _gradient(discriminator(between, label), between)
    # the gradient of this norm at 0 is 0, that of a square root would be infinite
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (norm - 1).square().mean()


def _gradient(logits: Tensor, images: Tensor) -> Tensor:
    """The gradient of each logit by its own image, as [batch, C * H * W]."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1)
