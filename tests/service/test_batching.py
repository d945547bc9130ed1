"""The policy under a clock that only the test moves."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from service.batching import Cut, Decision, Queue, Waiting, decide, join, leave

NEVER = float("inf")


def waiting(number: int, rows: int, generator: str = "a", deadline: float = NEVER) -> Waiting:
    return Waiting(number, generator, rows, rows, deadline)


def queue_of(*requests: Waiting) -> Queue:
    queue = Queue()
    for request in requests:
        queue = join(queue, request)
    return queue


@dataclass
class Device:
    """Computes what the policy decides, one batch a second."""

    max_batch: int
    queue: Queue = field(default_factory=Queue)
    now: float = 0
    batches: list[Decision] = field(default_factory=list)

    def compute_one(self) -> Decision:
        decision, self.queue = decide(self.queue, self.now, 0, self.max_batch)
        self.now += 1
        self.batches.append(decision)
        return decision


requests = st.lists(
    st.builds(
        lambda rows, generator: (rows, generator), st.integers(1, 40), st.sampled_from(["a", "b", "c"])
    ),
    max_size=12,
).map(lambda drawn: [waiting(i, rows, generator) for i, (rows, generator) in enumerate(drawn)])


def test_an_empty_queue_gives_nothing_to_do() -> None:
    assert decide(Queue(), 0, 0, 8) == (Decision(), Queue())


def test_one_row_does_not_wait_for_others() -> None:
    decision, queue = decide(queue_of(waiting(0, 1)), 0, 0, 8)
    assert decision == Decision(generator="a", batch=(Cut(0, 0, 1),))
    assert queue.rows == 0


def test_rows_of_several_requests_share_a_batch() -> None:
    decision, queue = decide(queue_of(waiting(0, 3), waiting(1, 4), waiting(2, 5)), 0, 0, 8)
    assert decision.batch == (Cut(0, 0, 3), Cut(1, 0, 4), Cut(2, 0, 1))
    assert [(w.id, w.left) for w in queue.waiting] == [(2, 4)]


def test_nothing_is_cut_while_a_batch_is_in_flight() -> None:
    before = queue_of(waiting(0, 3))
    assert decide(before, 0, 1, 8) == (Decision(), before)


def test_who_left_or_is_late_is_dropped_even_while_a_batch_is_in_flight() -> None:
    before = leave(queue_of(waiting(0, 3), waiting(1, 3, deadline=5), waiting(2, 3, deadline=5.1)), 0)
    decision, after = decide(before, 5, 1, 8)
    assert decision == Decision(drop=(0, 1))
    assert [w.id for w in after.waiting] == [2]


def test_dropped_rows_are_not_computed() -> None:
    before = leave(queue_of(waiting(0, 3), waiting(1, 3, deadline=5), waiting(2, 3)), 0)
    decision, _ = decide(before, 6, 0, 8)
    assert decision.drop == (0, 1)
    assert decision.batch == (Cut(2, 0, 3),)


def test_a_large_request_leaves_room_for_small_ones_behind_it() -> None:
    device = Device(8, queue_of(waiting(0, 100), *(waiting(i, 1) for i in range(1, 4))))
    assert device.compute_one().batch == (Cut(0, 0, 5), Cut(1, 0, 1), Cut(2, 0, 1), Cut(3, 0, 1))
    assert device.compute_one().batch == (Cut(0, 5, 13),)


def test_a_large_request_is_not_starved_by_small_ones_without_end() -> None:
    device = Device(8, queue_of(waiting(0, 40)))
    number = 0
    while any(w.id == 0 for w in device.queue.waiting):
        while sum(w.id > 0 for w in device.queue.waiting) < 16:
            number += 1
            device.queue = join(device.queue, waiting(number, 1))
        device.compute_one()
    # It has half of a batch each time that the 16 rows before it are through.
    assert len(device.batches) <= 40 / 4 * 3


def test_large_requests_take_turns() -> None:
    device = Device(8, queue_of(waiting(0, 20), waiting(1, 20), waiting(2, 20)))
    assert [{cut.id for cut in device.compute_one().batch} for _ in range(3)] == [{0, 1}, {2, 0}, {1, 2}]


def test_a_batch_of_one_row_takes_turns_too() -> None:
    device = Device(1, queue_of(waiting(0, 3), waiting(1, 1), waiting(2, 1)))
    assert [device.compute_one().batch[0].id for _ in range(5)] == [0, 1, 2, 0, 0]


def test_generators_have_the_device_in_turn() -> None:
    device = Device(8, queue_of(waiting(0, 30, "a"), waiting(1, 30, "b"), waiting(2, 30, "c")))
    assert [device.compute_one().generator for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    device.queue = join(device.queue, waiting(3, 1, "d"))
    assert device.compute_one().generator == "d"


@given(requests, st.integers(1, 16))
def test_every_row_is_computed_once_in_order_in_full_batches(asked: list[Waiting], max_batch: int) -> None:
    device = Device(max_batch, queue_of(*asked))
    progress = dict.fromkeys(range(len(asked)), 0)
    while device.queue.waiting:
        left = {w.generator: 0 for w in asked}
        for w in device.queue.waiting:
            left[w.generator] += w.left
        decision = device.compute_one()
        assert decision.generator is not None
        rows = sum(cut.stop - cut.start for cut in decision.batch)
        assert rows == min(max_batch, left[decision.generator])
        for cut in decision.batch:
            assert asked[cut.id].generator == decision.generator
            assert cut.start == progress[cut.id] < cut.stop
            progress[cut.id] = cut.stop
    assert progress == {w.id: w.rows for w in asked}


@given(requests, st.integers(1, 16))
def test_nobody_waits_longer_than_the_turns_of_those_ahead(asked: list[Waiting], max_batch: int) -> None:
    """Whatever stands behind it, a small request is computed after the rows ahead of it and no more turns."""
    asked = [waiting(w.id, w.rows) for w in asked]
    latecomer = waiting(len(asked), 1)
    device = Device(max_batch, queue_of(*asked, latecomer, *(waiting(100 + i, 40) for i in range(5))))
    turn = max(1, max_batch // 2)
    ahead = sum(w.rows if w.rows <= max_batch else turn for w in asked)
    while any(w.id == latecomer.id for w in device.queue.waiting):
        device.compute_one()
    assert len(device.batches) <= ahead // max_batch + 1
