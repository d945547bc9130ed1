"""When a run has had enough, and when it has collapsed: a policy over what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

# better by less than this share of the distance, all together, is no reason to go on
WORTH = 0.01
# how far from one half the accuracy may be, or how far it may have moved, while the game is at rest
REST = 0.05
# so many times the patience for a game that does not come to rest
RESTLESS = 2
# so many measurements in a row are no accident
ROW = 3
# distances so many times the least are a collapse
FAR = 3.0
# variety of a class, generated over real: what it falls to in a collapse, and what it must have had before
COLLAPSED, VARIED = 0.15, 0.3
# recall under which a generator has found nothing of the real images
NOTHING = 0.01


@dataclass(frozen=True)
class Measurement:
    """Of generated images against as many held-out ones, after `images_seen` images.

    distance: Frechet, in the features of a classifier; recall: the share of real images that look like
    generated ones; variety: spread of features within a class, generated over real, over all classes;
    least_variety: that of the class where it is least; accuracy: the discriminator's, balanced, on real and
    generated images; accuracy_on_seen: the same with real images that it has learned from; class_variety:
    variety of each class with enough images, where there are several.
    """

    images_seen: int
    distance: float
    recall: float
    variety: float
    least_variety: float
    least_class: str | None
    accuracy: float
    accuracy_on_seen: float
    class_variety: dict[str, float]


@dataclass(frozen=True)
class Verdict:
    """Why a run should not go on as it does."""

    kind: Literal["enough", "collapse"]
    reason: str


def best(measured: Sequence[Measurement]) -> Measurement:
    """The first with the least distance."""
    return min(measured, key=lambda one: one.distance)


def judge(measured: Sequence[Measurement], patience: int, returned_at: int = 0) -> Verdict | None:
    """What all measurements of a run, in order, say about it; None when it should go on.

    patience: images without a better distance; 0 has no end. returned_at: images seen when the run last went
    back to its best state: it has its whole patience since, and what it draws now is judged by what it drew
    since.
    """
    since = [one for one in measured if one.images_seen > returned_at]
    if not since:
        return None
    return _collapse(measured, since) or (
        _enough(measured, since, patience, returned_at) if patience else None
    )


def at_rest(accuracies: Sequence[float]) -> bool:
    """Whether a game is at an equilibrium, by the discriminator's accuracies over the patience, in order.

    It is where they are one half (Goodfellow et al. 2014, arXiv 1406.2661, theorem 1), or no longer move: a
    game of networks may have no Nash equilibrium (Farnia & Ozdaglar 2020, arXiv 2002.09124), and come to
    rest at other points (Berard et al. 2020, arXiv 1906.04848).
    """
    half = len(accuracies) // 2
    before, after = fmean(accuracies[:half] or accuracies), fmean(accuracies[half:])
    return abs(after - 0.5) <= REST or abs(after - before) <= REST


def _collapse(measured: Sequence[Measurement], since: Sequence[Measurement]) -> Verdict | None:
    """What was good and is bad now; the noise that a run begins with never was good."""
    now, row = since[-1], since[-ROW:]
    if len(row) < ROW:
        return None
    least = best(measured).distance
    if all(one.distance > FAR * least for one in row):
        return Verdict("collapse", f"the distance rose to {now.distance:.3g}, where {least:.3g} was the best")
    # a class that was varied and is no more; without classes, all images
    names: list[str | None] = [*sorted(now.class_variety, key=now.class_variety.__getitem__)]
    for name in names or [None]:
        varieties = [_variety(one, name) for one in measured]
        if max(varieties) > VARIED and all(_variety(one, name) < COLLAPSED for one in row):
            within = f" within {name}" if name else ""
            return Verdict(
                "collapse", f"the variety{within} fell to {varieties[-1]:.0%} of that of real images"
            )
    return None


def _variety(measurement: Measurement, class_name: str | None) -> float:
    """Of that class, or of all images."""
    return measurement.variety if class_name is None else measurement.class_variety[class_name]


def _enough(
    measured: Sequence[Measurement], since: Sequence[Measurement], patience: int, returned_at: int
) -> Verdict | None:
    now = since[-1].images_seen
    waited = now - max(_last_worth(measured).images_seen, returned_at)
    accuracies = [one.accuracy for one in since if one.images_seen >= now - patience]
    rests = at_rest(accuracies)
    if waited < patience * (1 if rests else RESTLESS):
        return None
    reason = f"no better distance for {waited:,} images"
    least = best(measured)
    if least.recall < NOTHING or least.least_variety < COLLAPSED:
        within = f" within {least.least_class}" if least.least_class else ""
        return Verdict(
            "collapse",
            f"{reason}, and the best has a recall of {least.recall:.0%} and{within} a variety of "
            f"{least.least_variety:.0%} of that of real images",
        )
    level = f"the discriminator's accuracy {'rests' if rests else 'still moves'}, at {accuracies[-1]:.0%}"
    return Verdict("enough", f"{reason}, and {level}")


def _last_worth(measured: Sequence[Measurement]) -> Measurement:
    """The last that was better than those before it by more than a trifle."""
    last = measured[0]
    for one in measured:
        if one.distance < (1 - WORTH) * last.distance:
            last = one
    return last
