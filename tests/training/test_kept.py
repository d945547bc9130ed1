from pathlib import Path

import pytest
from pydantic import BaseModel

from training.kept import Kept


class Part(BaseModel):
    number: float


def never() -> Part:
    pytest.fail("measured again")


def test_a_part_is_measured_once(tmp_path: Path) -> None:
    assert Kept(tmp_path, {"seed": 1}).part("a", Part, lambda: Part(number=1 / 3)).number == 1 / 3
    assert Kept(tmp_path, {"seed": 1}).part("a", Part, never).number == 1 / 3


def test_other_parts_and_other_settings_find_nothing(tmp_path: Path) -> None:
    Kept(tmp_path, {"seed": 1}).part("a", Part, lambda: Part(number=1))
    assert Kept(tmp_path, {"seed": 1}).part("b", Part, lambda: Part(number=2)).number == 2
    assert Kept(tmp_path, {"seed": 2}).part("a", Part, lambda: Part(number=3)).number == 3


def test_what_failed_is_not_kept_and_what_was_damaged_is_measured_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, {})
    with pytest.raises(ZeroDivisionError):
        kept.part("a", Part, lambda: Part(number=1 / 0))
    kept.part("a", Part, lambda: Part(number=4))
    (file,) = tmp_path.rglob("a.json")
    file.write_text('{"num')
    assert kept.part("a", Part, lambda: Part(number=5)).number == 5


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    kept = Kept(tmp_path, {})
    kept.part("a", Part, lambda: Part(number=1))
    kept.forget()
    kept.forget()
    assert list(tmp_path.iterdir()) == []
