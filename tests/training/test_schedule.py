import math

import pytest
from pydantic import BaseModel, ValidationError

from training.schedule import Schedule


class Holder(BaseModel):
    value: Schedule


@pytest.mark.parametrize(
    ("written", "start", "end"),
    [
        (0.5, 0.5, 0.5),
        ("0.5", 0.5, 0.5),
        ("5e-4..5e-5", 5e-4, 5e-5),
        (20_000, 20_000, 20_000),
        ("1..0", 1, 0),
        (f"{1 / 3}..{1 / 7}", 1 / 3, 1 / 7),
    ],
)
def test_it_is_written_as_one_number_or_two(written: float | str, start: float, end: float) -> None:
    schedule = Schedule.model_validate(written)
    assert (schedule.start, schedule.end) == (start, end)
    held = Holder(value=schedule)
    assert Holder.model_validate_json(held.model_dump_json()) == held


@pytest.mark.parametrize("written", ["", "..", "1..", "1..2..3", "-1", "1..inf", "nan", "many"])
def test_what_is_no_schedule_is_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(written)


def test_it_follows_half_a_cosine() -> None:
    schedule = Schedule(start=4, end=2)
    assert [schedule.at(share) for share in (0, 0.5, 1, 7)] == pytest.approx([4, 3, 2, 2])
    assert schedule.at(1 / 3) == pytest.approx(2 + 2 * (1 + math.cos(math.pi / 3)) / 2)


def test_one_number_stays_what_it_is() -> None:
    # 5e-4 to the last bit: a resumed run takes no other steps
    assert {Schedule.model_validate(5e-4).at(share / 7) for share in range(9)} == {5e-4}
