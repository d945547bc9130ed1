"""Adversarial training as a tutorial has it: both networks, their losses and two Adams, nothing else."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.losses import Objective, discriminator_loss, generator_loss


def plain_step(
    generator: nn.Module,
    discriminator: nn.Module,
    objective: Objective,
    real: Tensor,
    label: Tensor,
    *,
    latent_dim: int,
    learning_rate: float,
    betas: tuple[float, float],
) -> Callable[[], None]:
    """One step of both networks, always on the same images [n, C, H, W] and one-hot labels [n, classes]."""
    optimizers = [
        torch.optim.Adam(network.parameters(), learning_rate, betas=betas)
        for network in (discriminator, generator)
    ]

    def latents() -> Tensor:
        return torch.randn(len(real), latent_dim, device=real.device)

    def step() -> None:
        with torch.no_grad():
            generated = generator(latents(), label)
        mix = torch.rand(len(real), device=real.device)
        optimizers[0].zero_grad()
        loss = discriminator_loss(objective, discriminator, real, generated, label, mix).total
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers[0].step()
        optimizers[1].zero_grad()
        discriminator.requires_grad_(requires_grad=False)
        generator_loss(objective, discriminator, real, generator(latents(), label), label).backward()  # type: ignore[no-untyped-call]
        discriminator.requires_grad_(requires_grad=True)
        optimizers[1].step()

    return step
