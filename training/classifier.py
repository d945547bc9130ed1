"""A small image classifier, the judge of generated images."""

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from training.bars import BAR
from training.networks import to_signed
from training.pictures import Pictures

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images [batch, H, W, C] and their labels [batch]
BATCH = 128
PEAK_LEARNING_RATE = 4e-3
# quarter turns of an image
TURNS = 4


class Classifier(nn.Module):
    """Strided 3x3 convolutions with batch normalisation until 4x4 are left, and a linear layer over these.

    forward: uint8 [batch, H, W, C] to logits [batch, classes].
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
    def predict(self, images: Pictures) -> NDArray[np.int64]:
        """The most likely class of each image [n, H, W, C], as [n]."""
        return np.concatenate([self(pixels).argmax(dim=1).numpy() for pixels in self._batches(images)])

    @torch.no_grad()
    def features(self, images: Pictures) -> NDArray[np.float32]:
        """The last convolution's output, averaged over positions, of images [n, H, W, C], as [n, d].

        d is 64 for images of 16 pixels, 128 for 32, 256 for more.
        """
        batches = (to_signed(pixels) for pixels in self._batches(images))
        return np.concatenate([self.convolutions(batch).mean(dim=(2, 3)).numpy() for batch in batches])

    def _batches(self, images: Pictures, batch: int = 250) -> Iterator[torch.Tensor]:
        self.eval()
        return (torch.tensor(images[start : start + batch]) for start in range(0, len(images), batch))


def fit(
    images: Pictures,
    labels: NDArray[np.int64],
    classes: int,
    *,
    presentations: int,
    seed: int,
    title: str,
) -> Classifier:
    """Train a classifier of the classes, or of quarter turns where there are none (`classes` is 0).

    images: uint8 [n, H, W, C]; labels: int64 [n]; presentations: images that it is shown. Turns teach
    features without labels (Gidaris et al. 2018, arXiv 1803.07728).
    """
    batches = shuffled(images, labels, BATCH, seed) if classes else _turned(images, seed)
    return fit_batches(batches, classes or TURNS, presentations=presentations, seed=seed, title=title)


def _turned(images: Pictures, seed: int) -> Iterator[Batch]:
    """Batches without end that show each image in all four turns."""
    turns = np.repeat(np.arange(TURNS), BATCH // TURNS)
    for pixels, _ in shuffled(images, np.zeros(len(images), np.int64), BATCH // TURNS, seed):
        yield np.concatenate([np.rot90(pixels, turn, axes=(1, 2)) for turn in range(TURNS)]), turns


def shuffled(images: Pictures, labels: NDArray[np.int64], batch: int, seed: int) -> Iterator[Batch]:
    """Batches without end, each image once before any comes again."""
    draws = np.random.default_rng(seed)
    order = np.empty(0, dtype=np.int64)
    while True:
        while len(order) < batch:
            order = np.concatenate([order, draws.permutation(len(images))])
        rows, order = order[:batch], order[batch:]
        yield images[rows], labels[rows]


def fit_batches(
    batches: Iterator[Batch], classes: int, *, presentations: int, seed: int, title: str | None = None
) -> Classifier:
    """Train a classifier until it was shown `presentations` images of these batches of BATCH.

    title: of the progress bar; without it there is none. One-cycle schedule (Smith & Topin 2018, arXiv
    1708.07120).
    """
    steps = max(1, presentations // BATCH)
    first = next(batches)
    _, resolution, _, channels = first[0].shape
    with torch.random.fork_rng(devices=()):  # all draws are on the CPU
        torch.manual_seed(seed)
        classifier = Classifier(resolution, channels, classes)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
        classifier.train()
        shown = islice(chain([first], batches), steps)
        for pixels, labels in tqdm(shown, total=steps, desc=title, unit="step", disable=title is None, **BAR):
            loss = F.cross_entropy(classifier(torch.from_numpy(pixels)), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return classifier
