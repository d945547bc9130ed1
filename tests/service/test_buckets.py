"""The batch sizes that a GPU prepares."""

from hypothesis import given
from hypothesis import strategies as st

from service.buckets import bucket_of, buckets


@given(st.integers(1, 4096), st.data())
def test_a_batch_is_padded_to_less_than_twice_its_rows(max_batch: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, max_batch))
    size = bucket_of(rows, buckets(max_batch))
    assert rows <= size < 2 * rows or size == rows == 1
    assert size <= max_batch


@given(st.integers(1, 4096))
def test_buckets_are_the_powers_of_two_and_the_largest_batch(max_batch: int) -> None:
    sizes = buckets(max_batch)
    assert sizes == tuple(sorted(set(sizes)))
    assert sizes[-1] == max_batch
    assert [size for size in sizes[:-1] if size.bit_count() != 1] == []
    assert sizes[:-1] == tuple(2**power for power in range(13) if 2**power < max_batch)


@given(st.sets(st.integers(1, 4096), min_size=1), st.data())
def test_a_batch_gets_the_smallest_size_that_holds_it(sizes: set[int], data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, max(sizes)))
    assert bucket_of(rows, sorted(sizes)) == min(size for size in sizes if size >= rows)
