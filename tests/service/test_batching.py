"""The policy under a clock that only the test moves."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import Batch, BatchSize, Cut, Queue

NEVER = float("inf")


@dataclass
class Device:
    """Computes what the policy decides, one batch a second, for requests that are numbered as they come."""

    max_batch: int
    fill: int = 1000
    queue: Queue[int] = field(init=False)
    asked: list[tuple[int, str]] = field(default_factory=list)
    now: float = 0
    batches: list[Batch[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = BatchSize(self.max_batch, min(self.fill, self.max_batch))
        self.queue = Queue(lambda _: size)

    def ask(self, *rows: int, generator: str = "a", deadline: float = NEVER) -> None:
        for n in rows:
            self.queue.join(len(self.asked), generator, n, deadline)
            self.asked.append((n, generator))

    def compute_one(self) -> Batch[int] | None:
        batch = self.queue.cut(self.now)
        self.now += 1
        if batch:
            self.batches.append(batch)
        return batch

    def compute_all(self) -> list[Batch[int]]:
        while self.compute_one():
            pass
        return self.batches

    def cuts(self) -> tuple[Cut[int], ...]:
        batch = self.compute_one()
        return batch.cuts if batch else ()

    def computed(self, request: int) -> int:
        return sum(
            cut.stop - cut.start for batch in self.batches for cut in batch.cuts if cut.request == request
        )


requests = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["a", "b", "c"])), max_size=12)


def device_of(asked: list[tuple[int, str]], max_batch: int, fill: int = 1000) -> Device:
    device = Device(max_batch, fill)
    for rows, generator in asked:
        device.ask(rows, generator=generator)
    return device


def test_an_empty_queue_gives_nothing_to_do() -> None:
    assert Queue[int](lambda _: BatchSize(8, fill=8)).cut(0) is None


def test_one_row_does_not_wait_for_others() -> None:
    device = Device(8)
    device.ask(1)
    assert device.compute_one() == Batch("a", (Cut(0, 0, 1),))
    assert device.queue.rows("a") == 0


def test_rows_of_several_requests_share_a_batch() -> None:
    device = Device(8)
    device.ask(3, 4, 5)
    assert device.cuts() == (Cut(0, 0, 3), Cut(1, 0, 4), Cut(2, 0, 1))
    assert device.queue.rows("a") == 4
    assert device.cuts() == (Cut(2, 1, 5),)


def test_who_left_is_not_computed() -> None:
    device = Device(8)
    device.ask(3, 3)
    device.queue.leave(0)
    device.queue.leave(0)
    device.queue.leave(99)
    assert device.queue.rows("a") == 3
    assert device.cuts() == (Cut(1, 0, 3),)


def test_who_leaves_in_the_middle_is_computed_no_further() -> None:
    device = Device(8)
    device.ask(20)
    device.compute_one()
    device.queue.leave(0)
    assert device.compute_one() is None


@pytest.mark.parametrize(("now", "cuts"), [(5, (Cut(1, 0, 3),)), (4.9, (Cut(0, 0, 3), Cut(1, 0, 3)))])
def test_nobody_is_computed_whose_time_is_up(now: float, cuts: tuple[Cut[int], ...]) -> None:
    device = Device(8, now=now)
    device.ask(3, deadline=5)
    device.ask(3, deadline=5.1)
    assert device.cuts() == cuts
    assert device.queue.rows("a") == 0


def test_when_everybodys_time_is_up_others_have_the_device() -> None:
    device = Device(8, now=5)
    device.ask(3, deadline=5)
    device.ask(1, generator="b")
    assert device.compute_one() == Batch("b", (Cut(1, 0, 1),))


def test_a_large_request_leaves_room_for_small_ones_behind_it() -> None:
    device = Device(8)
    device.ask(100, 1, 1, 1, 1, 1)
    assert device.cuts() == (Cut(0, 0, 3), *(Cut(i, 0, 1) for i in range(1, 6)))
    assert device.cuts() == (Cut(0, 3, 11),)


def test_a_large_request_is_not_starved_by_small_ones_without_end() -> None:
    device = Device(8)
    device.ask(40)
    while device.computed(0) < 40:
        device.ask(*[1] * (16 - device.queue.rows("a") + (40 - device.computed(0))))
        device.compute_one()
    # It has a quarter of a batch each time that the 16 rows before it are through.
    assert len(device.batches) <= 40 / 2 * 3


def test_large_requests_take_turns() -> None:
    device = Device(8)
    device.ask(20, 20, 20)
    # Two rows each, and the two that are left go to the first.
    assert [{cut.request for cut in device.cuts()} for _ in range(3)] == [{0, 1, 2}] * 3
    device = Device(4)
    device.ask(20, 20, 20, 20, 20)
    assert [{cut.request for cut in device.cuts()} for _ in range(3)] == [
        {0, 1, 2, 3},
        {4, 0, 1, 2},
        {3, 4, 0, 1},
    ]


def test_each_generator_has_batches_of_its_own_size() -> None:
    queue: Queue[int] = Queue({"a": BatchSize(8, fill=8), "b": BatchSize(2, fill=2)}.__getitem__)
    queue.join(0, "a", 20, NEVER)
    queue.join(1, "b", 20, NEVER)
    assert sorted((batch.generator, batch.rows) for _ in "ab" if (batch := queue.cut(0))) == [
        ("a", 8),
        ("b", 2),
    ]


def test_large_requests_fill_a_batch_no_further_than_it_is_worth() -> None:
    device = Device(64, fill=8)
    device.ask(256, 1, 1)
    assert device.cuts() == (Cut(0, 0, 16), Cut(1, 0, 1), Cut(2, 0, 1))
    assert device.cuts() == (Cut(0, 16, 32),)
    device = Device(16, fill=8)
    device.ask(256, 1, 1)
    assert device.cuts() == (Cut(0, 0, 6), Cut(1, 0, 1), Cut(2, 0, 1))
    assert device.cuts() == (Cut(0, 6, 14),)


def test_what_is_no_larger_than_a_batch_is_not_held_back() -> None:
    device = Device(64, fill=8)
    device.ask(40, 20, 10)
    assert device.cuts() == (Cut(0, 0, 40), Cut(1, 0, 20), Cut(2, 0, 4))


def test_a_batch_of_one_row_takes_turns_too() -> None:
    device = Device(1)
    device.ask(3, 1, 1)
    assert [cut.request for batch in device.compute_all() for cut in batch.cuts] == [0, 1, 2, 0, 0]


def test_generators_have_the_device_in_turn() -> None:
    device = device_of([(30, "a"), (30, "b"), (30, "c")], 8)
    for _ in range(6):
        device.compute_one()
    turns = [batch.generator for batch in device.batches]
    assert sorted(turns[:3]) == ["a", "b", "c"]
    assert turns[3:] == turns[:3]
    device.ask(1, generator="d")
    batch = device.compute_one()
    assert batch
    assert batch.generator == "d"


@given(requests, st.integers(1, 16))
def test_every_row_is_computed_once_in_order_in_full_batches(
    asked: list[tuple[int, str]], max_batch: int
) -> None:
    device = device_of(asked, max_batch)
    progress = dict.fromkeys(range(len(asked)), 0)
    while True:
        waiting = {generator: device.queue.rows(generator) for generator in "abc"}
        if (batch := device.compute_one()) is None:
            break
        rows = sum(cut.stop - cut.start for cut in batch.cuts)
        assert rows == min(max_batch, waiting[batch.generator])
        assert device.queue.rows(batch.generator) == waiting[batch.generator] - rows
        for cut in batch.cuts:
            assert asked[cut.request][1] == batch.generator
            assert cut.start == progress[cut.request] < cut.stop
            progress[cut.request] = cut.stop
    assert progress == {i: rows for i, (rows, _) in enumerate(asked)}


@given(requests, st.integers(1, 16), st.integers(1, 16))
def test_every_row_is_computed_once_however_far_batches_are_filled(
    asked: list[tuple[int, str]], max_batch: int, fill: int
) -> None:
    device = device_of(asked, max_batch, fill)
    for batch in device.compute_all():
        rows = Counter({cut.request: cut.stop - cut.start for cut in batch.cuts})
        large = [request for request in rows if asked[request][0] > max_batch]
        turns = len(large) * max(1, max_batch // 4)
        assert batch.rows <= max_batch
        assert sum(rows[request] for request in large) <= max(turns, fill)
    assert [device.computed(i) for i in range(len(asked))] == [rows for rows, _ in asked]


@given(requests, st.integers(1, 16), st.integers(1, 16))
def test_nobody_waits_longer_than_the_turns_of_those_ahead(
    asked: list[tuple[int, str]], max_batch: int, fill: int
) -> None:
    """Whatever stands behind it, a small request is computed after the rows ahead of it and no more turns."""
    device = device_of([(rows, "a") for rows, _ in asked], max_batch, fill)
    latecomer = len(asked)
    device.ask(1, *[40] * 5)
    turn = max(1, max_batch // 4)
    ahead = sum(rows if rows <= max_batch else turn for rows, _ in asked)
    while not device.computed(latecomer):
        device.compute_one()
    assert len(device.batches) <= ahead // max_batch + 1


@given(requests, st.integers(1, 16), st.data())
def test_leaving_takes_only_the_leavers_rows(
    asked: list[tuple[int, str]], max_batch: int, data: st.DataObject
) -> None:
    device = device_of(asked, max_batch)
    before = data.draw(st.integers(0, 5))
    for _ in range(before):
        device.compute_one()
    leavers = data.draw(st.sets(st.sampled_from(range(len(asked))))) if asked else set()
    computed = {leaver: device.computed(leaver) for leaver in leavers}
    for leaver in leavers:
        device.queue.leave(leaver)
    device.compute_all()
    for i, (rows, _) in enumerate(asked):
        assert device.computed(i) == computed.get(i, rows)
