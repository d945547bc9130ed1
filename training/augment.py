"""Differentiable augmentation of what the discriminator sees, real and generated, for small data sets."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# uniform numbers that one image needs: which of the three changes to make, then their sizes
NUMBERS = 10
REACH = 1 / 8

TARGET = 0.6
# an image's chance of each change beyond which it would show in generated images
LIMIT = 0.8
IMAGES_TO_FULL = 500_000
INTERVAL = 4


def augment(images: Tensor, numbers: Tensor, strength: float) -> Tensor:
    """Colour, translation and cutout, each with the probability `strength` for each image.

    images: [n, C, H, W] on [-1, 1]; numbers: [n, NUMBERS] uniform on [0, 1). Sizes are those of DiffAugment
    (Zhao et al. 2020, arXiv 2006.10738): brightness up to 0.5 more or less, saturation times 0 to 2, contrast
    times 0.5 to 1.5; translation by up to an eighth of the image, and a square of half its side, somewhere,
    both filled with 0.
    """
    if not strength:
        return images
    chosen = numbers[:, :3] < strength
    images = torch.where(chosen[:, 0, None, None, None], _colour(images, numbers[:, 3:6]), images)
    images = _translate(images, numbers[:, 6:8], chosen[:, 1])
    return _cut(images, numbers[:, 8:10], chosen[:, 2])


def _colour(images: Tensor, numbers: Tensor) -> Tensor:
    brightness, saturation, contrast = numbers[:, :, None, None, None].unbind(1)
    images = images + brightness - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * saturation * 2
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: Tensor, numbers: Tensor, chosen: Tensor) -> Tensor:
    number, _, height, width = images.shape
    reach = int(height * REACH + 0.5)
    shifts = (numbers * (2 * reach + 1)).long() * chosen[:, None] + reach * ~chosen[:, None]
    padded = F.pad(images, (reach,) * 4)
    rows = torch.arange(height, device=images.device) + shifts[:, :1]
    columns = torch.arange(width, device=images.device) + shifts[:, 1:]
    which = torch.arange(number, device=images.device)
    moved = padded.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cut(images: Tensor, numbers: Tensor, chosen: Tensor) -> Tensor:
    side = images.shape[2]
    middles = (numbers * (side + 1)).floor()
    places = torch.arange(side, device=images.device)
    # from a quarter before the middle to a quarter behind it, as far as the image goes
    near = ((places - middles[:, :, None] + side // 4) // (side // 2)) == 0
    hidden = chosen[:, None, None] & near[:, 0, :, None] & near[:, 1, None, :]
    return images * ~hidden[:, None]


class Strength:
    """How strongly to augment: fixed, or rising while the discriminator knows the real images too well.

    It does where the mean sign of its verdicts on them is above 0.6; the strength then rises, and else falls,
    by as much as would take it from 0 to 1 in 500,000 images (Karras et al. 2020, arXiv 2006.06676, section
    3.1, r_t).
    """

    def __init__(self, chosen: float | str) -> None:
        self.adaptive = chosen == "adaptive"
        self.value = 0.0 if isinstance(chosen, str) else chosen
        self._signs: Tensor | float = 0.0
        self._batches = 0

    def observe(self, sign: Tensor, batch: int) -> None:
        """Count the mean sign, a scalar, of what the discriminator said about a batch of real images."""
        if not self.adaptive:
            return
        self._signs, self._batches = self._signs + sign, self._batches + 1
        if self._batches == INTERVAL:
            change = INTERVAL * batch / IMAGES_TO_FULL
            rises = float(self._signs) / INTERVAL > TARGET
            self.value = min(LIMIT, max(0.0, self.value + (change if rises else -change)))
            self._signs, self._batches = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "signs": float(self._signs), "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.value, self._signs, self._batches = (state_dict[key] for key in ("value", "signs", "batches"))
