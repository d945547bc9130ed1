"""The pictures of an evaluation."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from training.memorisation import Closeness, Memorisation
from training.mixing import Mixture, alone
from training.palette import BLUE, GREEN, ORANGE, PURPLE
from training.scores import Scores

COLOURS = BLUE, ORANGE, GREEN, PURPLE
MARKERS = "o", "s", "^", "D"
CLASSES = 40  # that fit into a picture


def classes(by_class: dict[str, Scores]) -> Figure:
    """A line a class: accuracy trained on real images and on generated ones, and label agreement.

    Of many classes, those with the lowest CAS.
    """
    shown = sorted(by_class, key=lambda name: by_class[name].cas)[:CLASSES]
    figure = Figure(figsize=(8, 1.4 + 0.32 * len(shown)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(shown))
    kinds = {
        "real on real": [by_class[name].real_accuracy for name in shown],
        "CAS": [by_class[name].cas for name in shown],
        "label agreement": [by_class[name].label_agreement for name in shown],
    }
    axes.hlines(rows, kinds["CAS"], kinds["real on real"], color="0.8", linewidth=3, zorder=1)
    for (name, values), colour, marker in zip(kinds.items(), COLOURS, MARKERS, strict=False):
        axes.plot(values, rows, marker, color=colour, label=name, markersize=7, zorder=2)
    axes.set_yticks(rows, shown, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("share of images classified right")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    return figure


def mixtures(measured: Sequence[Mixture]) -> Figure:
    """A panel an amount of real images: accuracy over the share of generated images, a line a truncation."""
    amounts = list(dict.fromkeys(mixture.real_share for mixture in measured))
    figure = Figure(figsize=(3.6 * len(amounts), 4), layout="constrained")
    panels = figure.subplots(1, len(amounts), squeeze=False)[0]
    for axes, amount in zip(panels, amounts, strict=True):
        here = [mixture for mixture in measured if mixture.real_share == amount]
        _mixture_panel(axes, here, alone(here, amount))
    panels[0].set_ylabel("accuracy on real test images")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def _mixture_panel(axes: Axes, here: Sequence[Mixture], real: Mixture) -> None:
    axes.axhline(real.accuracy, color="0.3", linestyle="--", label="real images alone")
    if len(real.accuracies) > 1:
        axes.axhspan(min(real.accuracies), max(real.accuracies), color="0.9")
    mixed = [mixture for mixture in here if mixture.generated_share]
    truncations = list(dict.fromkeys(mixture.truncation for mixture in mixed))
    for number, (truncation, colour, marker) in enumerate(zip(truncations, COLOURS, MARKERS, strict=False)):
        line = [mixture for mixture in mixed if mixture.truncation == truncation]
        middle = np.array([mixture.accuracy for mixture in line])
        spread = [
            middle - [min(mixture.accuracies) for mixture in line],
            np.array([max(mixture.accuracies) for mixture in line]) - middle,
        ]
        # beside each other, where they would hide each other
        places = np.array([mixture.generated_share for mixture in line]) + 0.015 * (number - 1)
        name = "generated, untruncated" if truncation is None else f"generated, truncation {truncation:g}"
        axes.errorbar(places, middle, spread, color=colour, marker=marker, capsize=3, label=name)
    axes.set_title(f"{real.real_share:.0%} of the real images ({real.real_images:,})", fontsize=11)
    axes.set_xlabel("generated images in each batch")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_xlim(0.15, 0.85)
    axes.set_xticks(sorted({mixture.generated_share for mixture in mixed}))
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


def pairs(found: Memorisation, generated: NDArray[np.uint8], train: NDArray[np.uint8]) -> Figure:
    """The closest pairs in pixels and in features: generated images, each above its training image."""
    columns = len(found.pixels.closest)
    figure = Figure(figsize=(0.9 * columns + 0.6, 4.9), layout="constrained")
    upper, lower = cast("NDArray[np.object_]", figure.subfigures(2, 1))
    kinds = [
        (upper, found.pixels, "pixels (root mean square difference, grey levels)", ".1f"),
        (lower, found.features, "the classifier's features (Euclidean distance)", ".2f"),
    ]
    for part, closeness, space, digits in kinds:
        near = format(closeness.test_near, digits)
        part.suptitle(f"closest in {space}; 1 % of the test images are nearer than {near}", fontsize=11)
        _show_pairs(part.subplots(2, columns, squeeze=False), closeness, generated, train, digits)
    return figure


def _show_pairs(
    panels: Any,
    closeness: Closeness,
    generated: NDArray[np.uint8],
    train: NDArray[np.uint8],
    digits: str,
) -> None:
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for (upper, lower), pair in zip(panels.T, closeness.closest, strict=False):
        for axes, image in ((upper, generated[pair.generated]), (lower, train[pair.train])):
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        lower.set_xlabel(format(pair.distance, digits), fontsize=9)
    panels[0, 0].set_ylabel("generated", fontsize=9)
    panels[1, 0].set_ylabel("training", fontsize=9)
