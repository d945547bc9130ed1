"""What each player of the game minimises, as functions of the discriminator's logits.

A logit is what the discriminator gives before any sigmoid. Where a paper speaks of a probability
D = sigmoid(logit), that sigmoid is part of the loss here: -log D = softplus(-logit) and
-log(1 - D) = softplus(logit), which keep small probabilities that a sigmoid in float32 would round away.
All take logits [batch], of real images and of generated ones, and give a scalar.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.penalties import Discriminator, one_centred, zero_centred

# images [batch, C, H, W] to what is seen of them, of the same shape
View = Callable[[Tensor], Tensor]


def cross_entropy(on_real: Tensor, on_generated: Tensor) -> Tensor:
    """Mean of -log D(x) - log(1 - D(G(z))): real images labelled 1, generated ones 0.

    Goodfellow et al. 2014, arXiv 1406.2661, equation 1, seen from the discriminator.
    """
    return F.softplus(-on_real).mean() + F.softplus(on_generated).mean()


def minimax(on_generated: Tensor) -> Tensor:
    """Mean of log(1 - D(G(z))): what the discriminator wins the generator loses, a zero-sum game.

    Goodfellow et al. 2014, equation 1; the term in x does not depend on the generator.
    """
    return -F.softplus(on_generated).mean()


def non_saturating(on_generated: Tensor) -> Tensor:
    """Mean of -log D(G(z)): steep where the discriminator is sure (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-on_generated).mean()


def least_squares(on_real: Tensor, on_generated: Tensor) -> Tensor:
    """Mean of (D(x) - 1)^2 / 2 + D(G(z))^2 / 2, D without a sigmoid.

    Mao et al. 2017, arXiv 1611.04076, equation 9.
    """
    return ((on_real - 1).square().mean() + on_generated.square().mean()) / 2


def least_squares_generator(on_generated: Tensor) -> Tensor:
    """Mean of (D(G(z)) - 1)^2 / 2 (Mao et al. 2017, equation 9)."""
    return (on_generated - 1).square().mean() / 2


def hinge(on_real: Tensor, on_generated: Tensor) -> Tensor:
    """Mean of max(0, 1 - D(x)) + max(0, 1 + D(G(z))), D without a sigmoid.

    Lim & Ye 2017, arXiv 1705.02894, section 3; Miyato et al. 2018, arXiv 1802.05957, equation 16.
    """
    return F.relu(1 - on_real).mean() + F.relu(1 + on_generated).mean()


def wasserstein(on_real: Tensor, on_generated: Tensor) -> Tensor:
    """Mean of D(G(z)) - D(x): minus the distance that the critic sees.

    Arjovsky et al. 2017, arXiv 1701.07875, section 3.
    """
    return on_generated.mean() - on_real.mean()


def critic_score(on_generated: Tensor) -> Tensor:
    """Mean of -D(G(z)), the generator's side of the hinge and of the Wasserstein loss (the same papers)."""
    return -on_generated.mean()


def relativistic_pairing(own: Tensor, other: Tensor) -> Tensor:
    """Mean of softplus(other - own): how far `own` is from being judged more real than `other`.

    Row i of one is paired with row i of the other. The discriminator's own images are the real ones, the
    generator's are the generated ones (Jolicoeur-Martineau 2018, arXiv 1807.00734, section 4; Huang et al.
    2024, arXiv 2501.05441, equation 2).
    """
    return F.softplus(other - own).mean()


@dataclass(frozen=True)
class Loss:
    """Both sides of a game.

    discriminator: of the logits of real and of generated images; generator: of those of generated images,
    or, when `paired`, of generated and real ones. threshold: the logit above which an image is judged real,
    None where only differences between logits mean something.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    threshold: float | None = 0.0
    paired: bool = False

    def sign(self, on_real: Tensor, on_generated: Tensor) -> Tensor:
        """The mean of 1 for each real image judged real and -1 for each other: 0 says that it cannot tell."""
        threshold = on_generated if self.threshold is None else self.threshold
        return (on_real - threshold).sign().mean()


LOSSES = {
    "minimax": Loss(cross_entropy, minimax),
    "non-saturating": Loss(cross_entropy, non_saturating),
    "least-squares": Loss(least_squares, least_squares_generator, threshold=0.5),
    "hinge": Loss(hinge, critic_score),
    "wasserstein": Loss(wasserstein, critic_score, threshold=None),
    "relativistic-pairing": Loss(relativistic_pairing, relativistic_pairing, threshold=None, paired=True),
}


@dataclass(frozen=True)
class Objective:
    """The game that is played: a name of LOSSES, a penalty, and the weight of the latter.

    R1 and R2 weigh gamma / 2 each, as in their papers, the penalty of WGAN-GP gamma.
    """

    loss: str
    penalty: str
    gamma: float


def as_it_is(images: Tensor) -> Tensor:
    return images


class DiscriminatorLoss(NamedTuple):
    """Scalars: what is minimised, and the parts that it is made of; and the logits [batch] behind them."""

    total: Tensor
    adversarial: Tensor
    penalties: dict[str, Tensor]
    on_real: Tensor
    on_generated: Tensor


def discriminator_loss(
    objective: Objective,
    discriminator: Discriminator,
    real: Tensor,
    generated: Tensor,
    label: Tensor | None,
    mix: Tensor,
    views: tuple[View, View] = (as_it_is, as_it_is),
) -> DiscriminatorLoss:
    """The loss with its penalties.

    real, generated: [batch, C, H, W] on [-1, 1]; label: [batch, classes], the same for both, so that pairs
    are of one class, or None; mix: [batch] uniform on [0, 1], where on the way from the one to the other the
    penalty of WGAN-GP looks; views: what the discriminator sees of real and of generated images. Penalties
    are on the gradient by the images themselves, as if the view were a part of the discriminator (Karras et
    al. 2020, arXiv 2006.06676, figure 2).
    """
    penalty, gamma = objective.penalty, objective.gamma
    # judged one after the other: batch normalisation must not mix real images with generated ones
    real = real.detach().requires_grad_("r1" in penalty)
    generated = generated.detach().requires_grad_("r2" in penalty)
    see_real, see_generated = views
    on_real = discriminator(see_real(real), label)
    on_generated = discriminator(see_generated(generated), label)
    adversarial = LOSSES[objective.loss].discriminator(on_real, on_generated)
    total, penalties = adversarial, {}
    for name, logits, images in (("r1", on_real, real), ("r2", on_generated, generated)):
        if name in penalty:
            penalties[name] = zero_centred(logits, images)
            total = total + gamma / 2 * penalties[name]
    if penalty == "wgan-gp":
        penalties[penalty] = one_centred(
            lambda between, label: discriminator(see_real(between), label), real, generated, label, mix
        )
        total = total + gamma * penalties[penalty]
    return DiscriminatorLoss(total, adversarial, penalties, on_real.detach(), on_generated.detach())


def generator_loss(
    objective: Objective, discriminator: Discriminator, real: Tensor, generated: Tensor, label: Tensor | None
) -> Tensor:
    """The same game from the other side; shapes as in `discriminator_loss`."""
    loss = LOSSES[objective.loss]
    on_generated = discriminator(generated, label)
    if not loss.paired:
        return loss.generator(on_generated)
    with torch.no_grad():
        on_real = discriminator(real, label)
    return loss.generator(on_generated, on_real)
