"""The policy over sequences of measurements that were made up."""

from collections.abc import Sequence

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


def test_noise_at_the_beginning_is_no_collapse() -> None:
    variety = [0.01, 0.02, 0.02, 0.05, 0.1, 0.12, 0.4]
    assert ends(measured([300, 320, 700, 680, 200, 100, 50], variety=variety)) is None


def test_a_run_that_never_learned_is_told_from_one_that_has_had_enough() -> None:
    nothing = measured([50.0] * 20, 1.0, recall=0.0)
    assert ends(nothing) == (10_000 + PATIENCE, "collapse")
    one_picture_a_class = measured([50.0] * 20, variety=0.01)
    assert ends(one_picture_a_class) == (10_000 + PATIENCE, "collapse")


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
