"""The curves of a run as one picture, from its log."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from training.files import replacing
from training.palette import BLUE, GREEN, VERMILLION

GREY = "#999999"
DOTTED = {"linestyle": ":", "marker": ""}


def draw(log: Path, path: Path) -> None:
    """Losses, distance, variety and accuracy over the images seen, as a PNG at `path`.

    log: the JSON lines of the run. Where it went back to its best state, a dashed line says so.
    """
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    # with margins and titles in fixed places, since to look for room takes as long as to draw
    figure = Figure(figsize=(11, 7))
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.075, top=0.95, wspace=0.17, hspace=0.2)
    (losses, distance), (variety, accuracy) = figure.subplots(2, 2, sharex=True)

    losses.set_title("Losses", loc="left", y=1, fontsize="medium")
    _plot(losses, entries, "discriminator", BLUE, "discriminator", marker="")
    _plot(losses, entries, "generator", VERMILLION, "generator", marker="")

    distance.set_title(
        "Fréchet distance to held-out images, in a classifier's features", loc="left", y=1, fontsize="medium"
    )
    _plot(distance, entries, "distance", BLUE)
    _mark_best(distance, [entry for entry in entries if "distance" in entry])

    variety.set_title("Variety within a class, and recall", loc="left", y=1, fontsize="medium")
    variety.axhline(1, color=GREY, linewidth=0.8)
    _plot(variety, entries, "variety", BLUE, "variety (real images: 100 %)")
    if any(entry.get("least_class") for entry in entries):
        _plot(variety, entries, "least_variety", BLUE, "variety, of the least varied class", **DOTTED)
    _plot(variety, entries, "recall", GREEN, "recall: real images like generated ones")
    variety.set_ylim(bottom=0)

    accuracy.set_title(
        "Discriminator's balanced accuracy, real against generated", loc="left", y=1, fontsize="medium"
    )
    accuracy.axhline(0.5, color=GREY, linewidth=0.8)
    _plot(accuracy, entries, "accuracy", BLUE, "held-out images")
    _plot(accuracy, entries, "accuracy_on_seen", VERMILLION, "images that it learns from", **DOTTED)
    accuracy.text(0.995, 0.51, "chance", transform=accuracy.get_yaxis_transform(), ha="right", color=GREY)
    accuracy.set_ylim(top=1.02)

    for axes in (losses, distance):
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for axes in (variety, accuracy):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("images seen")
    for axes in (losses, distance, variety, accuracy):
        _finish(axes, [entry["images_seen"] for entry in entries if "returned_to" in entry])
    with replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=100)


def _plot(
    axes: Axes,
    entries: list[dict[str, Any]],
    name: str,
    colour: str,
    label: str = "",
    *,
    linestyle: str = "-",
    marker: str = ".",
) -> None:
    points = [(entry["images_seen"], entry[name]) for entry in entries if name in entry]
    axes.plot(
        [seen for seen, _ in points],
        [value for _, value in points],
        color=colour,
        label=label,
        linestyle=linestyle,
        linewidth=1.2,
        marker=marker,
        markersize=4,
    )


def _mark_best(axes: Axes, measured: list[dict[str, Any]]) -> None:
    if not measured:
        return
    best = min(measured, key=lambda entry: entry["distance"])
    seen, least = best["images_seen"], best["distance"]
    axes.plot(seen, least, "o", color=VERMILLION, markersize=7, label=f"best: {least:.3g} at {seen:,} images")
    if max(entry["distance"] for entry in measured) > 4 * least > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)


def _finish(axes: Axes, returns: list[int]) -> None:
    for number, seen in enumerate(returns):
        axes.axvline(
            seen, color=GREY, linestyle="--", linewidth=1, label="" if number else "back to the best"
        )
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")
