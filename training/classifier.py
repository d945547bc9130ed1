"""A small image classifier, the judge of generated images."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from training.networks import to_signed
from training.progress import BAR

BATCH = 128
PEAK_LEARNING_RATE = 4e-3


class Classifier(nn.Module):
    """Three strided 3x3 convolutions with batch normalisation, and a linear layer over all positions.

    forward: uint8 [batch, H, W, C] to logits [batch, classes]. For images over 32 pixels, strided
    convolutions are added until 4x4 are left.
    """

    def __init__(self, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, width, size = channels, 32, resolution
        while size > 4:
            layers += [
                nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            inputs, width, size = width, min(256, width * 2), size // 2
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(inputs * size * size, classes))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.dense(self.convolutions(to_signed(pixels)))  # type: ignore[no-any-return]

    @torch.no_grad()
    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The most likely class of each image [n, H, W, C], as [n]."""
        return np.concatenate([self(pixels).argmax(dim=1).numpy() for pixels in self._batches(images)])

    @torch.no_grad()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The last convolution's output, averaged over positions, of images [n, H, W, C], as [n, d].

        d is 64 for images of 16 pixels, 128 for 32, 256 for more.
        """
        batches = (to_signed(pixels) for pixels in self._batches(images))
        return np.concatenate([self.convolutions(batch).mean(dim=(2, 3)).numpy() for batch in batches])

    def _batches(self, images: NDArray[np.uint8], batch: int = 1000) -> Iterator[torch.Tensor]:
        self.eval()
        return (torch.tensor(images[start : start + batch]) for start in range(0, len(images), batch))


def fit(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: int,
    *,
    presentations: int,
    seed: int,
    title: str,
) -> Classifier:
    """Train a classifier until it was shown `presentations` images.

    images: uint8 [n, H, W, C]; labels: int64 [n]. One-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).
    """
    _, resolution, _, channels = images.shape
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draws = np.random.default_rng(seed)
        classifier = Classifier(resolution, channels, classes)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
        steps = max(1, presentations // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
        order = np.empty(0, dtype=np.int64)
        classifier.train()
        for _ in tqdm(range(steps), desc=title, unit="step", **BAR):
            while len(order) < BATCH:
                order = np.concatenate([order, draws.permutation(len(images))])
            rows, order = order[:BATCH], order[BATCH:]
            loss = F.cross_entropy(classifier(torch.from_numpy(images[rows])), torch.from_numpy(labels[rows]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return classifier
