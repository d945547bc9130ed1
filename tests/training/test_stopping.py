"""The policy over sequences of measurements that were made up."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.stopping import Measurement, at_rest, best, judge

PATIENCE = 50_000


def measured(
    distances: Sequence[float],
    accuracies: Sequence[float] | float = 0.7,
    *,
    variety: Sequence[float] | float = 0.8,
    recall: float = 0.5,
) -> list[Measurement]:
    """One after each 10,000 images."""

    def one(values: Sequence[float] | float, number: int) -> float:
        return values if isinstance(values, int | float) else values[number]

    return [
        Measurement(
            images_seen=10_000 * (number + 1),
            distance=distance,
            recall=recall,
            variety=0.9,
            least_variety=one(variety, number),
            least_class="sandal",
            accuracy=one(accuracies, number),
            accuracy_on_seen=0.8,
            class_variety={"sandal": one(variety, number)},
        )
        for number, distance in enumerate(distances)
    ]


def ends(run: list[Measurement], patience: int = PATIENCE) -> tuple[int, str] | None:
    """After how many images the run ends, and how."""
    for number in range(len(run) + 1):
        if verdict := judge(run[:number], patience):
            return run[number - 1].images_seen, verdict.kind
    return None


def test_a_run_that_has_not_begun_goes_on() -> None:
    assert judge([], PATIENCE) is None


def test_a_run_that_becomes_better_goes_on() -> None:
    assert ends(measured([100 * 0.95**number for number in range(60)])) is None


def test_a_run_at_rest_ends_when_its_patience_is_over() -> None:
    assert ends(measured([50, 20, 10, *[10.5] * 20])) == (30_000 + PATIENCE, "enough")


def test_without_patience_it_has_no_end() -> None:
    assert ends(measured([50, 20, 10, *[10.5] * 200]), patience=0) is None


def test_a_discriminator_that_still_wins_or_loses_ground_has_twice_the_patience() -> None:
    rising = [0.5 + 0.03 * min(number, 15) for number in range(23)]
    assert ends(measured([50, 20, 10, *[10.5] * 20], rising)) == (30_000 + 2 * PATIENCE, "enough")


def test_improvements_count_when_they_add_up() -> None:
    slow = [10 * 0.997**number for number in range(40)]
    assert ends(measured(slow)) is None
    assert ends(measured([10, *[9.99 - 0.0001 * number for number in range(40)]])) == (
        10_000 + PATIENCE, "enough",
    )  # fmt: skip


# went back at 80,000 images to its best state, of 30,000
RETURNED = 80_000


def after_a_return(
    distances: Sequence[float], *, variety: float = 0.8, recall: float = 0.5
) -> list[Measurement]:
    """Three measurements up to the best, then those after the return, from 90,000 images on."""
    run = measured([50, 20, 10, *[math.nan] * 5, *distances], variety=variety, recall=recall)
    return run[:3] + run[8:]


@pytest.mark.parametrize(("recall", "kind"), [(0.5, "enough"), (0.0, "collapse")])
def test_a_run_that_went_back_has_its_whole_patience_again(recall: float, kind: str) -> None:
    run = after_a_return([11.0] * 5, recall=recall)
    assert [judge(run[:number], PATIENCE, RETURNED) for number in range(3, 8)] == [None] * 5
    verdict = judge(run, PATIENCE, RETURNED)
    assert verdict is not None
    assert verdict.kind == kind
    assert verdict.reason.startswith("no better distance for 50,000 images")


def test_after_a_return_measurements_in_a_row_are_counted_anew() -> None:
    run = after_a_return([31.0] * 3)
    assert [judge(run[:number], 0, RETURNED) for number in range(3, 6)] == [None] * 3
    assert judge(run, 0, RETURNED) is not None
    varied, *lost = measured([10] * 5, variety=[0.8, 0.1, 0.1, 0.1, 0.1])
    assert judge([varied, *lost[:2]], 0, returned_at=lost[1].images_seen) is None
    assert judge([varied, *lost[:3]], 0, returned_at=lost[1].images_seen) is None
    assert judge([varied, *lost[:3]], 0) is not None


def test_after_a_return_rest_is_judged_by_the_accuracy_since() -> None:
    """Of the accuracies over the patience, those before the return would tell of a game that moves."""
    run = measured([10, 11, 11, 11], [0.95, 0.7, 0.7, 0.7])
    verdict = judge(run, 30_000, returned_at=10_000)
    assert verdict is not None
    assert verdict.kind == "enough"


@pytest.mark.parametrize("distance", [31.0, 400.0])
def test_a_distance_far_from_the_best_three_times_in_a_row_is_a_collapse(distance: float) -> None:
    assert ends(measured([50, 20, 10, *[distance] * 4])) == (60_000, "collapse")


def test_a_distance_that_returns_is_none() -> None:
    assert ends(measured([50, 20, 10, 40, 40, 12, 40, 40, 9.5]), patience=0) is None


def test_classes_that_lose_their_variety_are_a_collapse() -> None:
    run = measured([50, 20, 10, 11, 12, 12, 12], variety=[0.05, 0.4, 0.8, 0.5, 0.1, 0.04, 0.02])
    assert ends(run) == (70_000, "collapse")
    verdict = judge(run, PATIENCE)
    assert verdict is not None
    assert verdict.reason == "the variety within sandal fell to 2% of that of real images"


def by_class(varieties: Sequence[dict[str, float]]) -> list[Measurement]:
    run = measured([10] * len(varieties), variety=[min(now.values()) for now in varieties])
    return [replace(one, class_variety=now) for one, now in zip(run, varieties, strict=True)]


def test_a_collapse_is_of_one_class() -> None:
    """Where another one is the least each time, and where the one that is lost never was varied."""
    turns = [{"bag": 0.8, "coat": 0.8}, *[{"bag": 0.1, "coat": 0.8}, {"bag": 0.8, "coat": 0.1}] * 3]
    assert ends(by_class(turns), patience=0) is None
    poor = [{"bag": 0.2, "coat": 0.8}, {"bag": 0.2, "coat": 0.8}, *[{"bag": 0.1, "coat": 0.8}] * 4]
    assert ends(by_class(poor), patience=0) is None
    hidden = [{"bag": 0.2, "coat": 0.8}, *[{"bag": 0.01, "coat": 0.12}] * 3]
    verdict = judge(by_class(hidden), 0)
    assert verdict is not None
    assert verdict.reason == "the variety within coat fell to 12% of that of real images"


def test_noise_at_the_beginning_is_no_collapse() -> None:
    variety = [0.01, 0.02, 0.02, 0.05, 0.1, 0.12, 0.4]
    assert ends(measured([300, 320, 700, 680, 200, 100, 50], variety=variety)) is None


def test_a_run_that_never_learned_is_told_from_one_that_has_had_enough() -> None:
    nothing = measured([50.0] * 20, 1.0, recall=0.0)
    assert ends(nothing) == (10_000 + PATIENCE, "collapse")
    one_picture_a_class = measured([50.0] * 20, variety=0.01)
    assert ends(one_picture_a_class) == (10_000 + PATIENCE, "collapse")


@pytest.mark.parametrize(("name", "words"), [("sandal", " within sandal a variety"), (None, " a variety")])
def test_a_class_is_named_where_there_are_classes(name: str | None, words: str) -> None:
    never = [replace(one, least_class=name) for one in measured([50.0] * 20, variety=0.01)]
    verdict = judge(never, PATIENCE)
    assert verdict is not None
    assert f"has a recall of 50% and{words} of 1% of that of real images" in verdict.reason


def test_the_first_of_equals_is_the_best() -> None:
    assert best(measured([3, 1, 2, 1])).images_seen == 20_000


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.5, 0.52, 0.48], True),
        ([0.9, 0.7, 0.52, 0.5], True),  # has come to where neither can win
        ([0.75, 0.72, 0.76, 0.73], True),  # does not move
        ([0.6, 0.65, 0.7, 0.75], False),
        ([0.9], True),
    ],
)
def test_rest(accuracies: list[float], *, expected: bool) -> None:
    assert at_rest(accuracies) is expected


distances = st.lists(st.floats(1, 1000), max_size=40)


@given(distances, st.integers(1, 200_000))
def test_no_run_has_had_enough_while_it_becomes_better(found: list[float], patience: int) -> None:
    run = measured(found)
    match ends(run, patience):
        case (end, "enough"):
            late = [one.distance for one in run if end - patience < one.images_seen <= end]
            early = [one.distance for one in run if one.images_seen <= end - patience]
            assert min(late) >= 0.99 * min(early)


@given(distances, st.integers(-8, 8))
def test_the_scale_of_the_distance_does_not_matter(found: list[float], power: int) -> None:
    assert ends(measured(found)) == ends(measured([distance * 2.0**power for distance in found]))
