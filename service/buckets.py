"""The batch sizes of a device that prepares each size beforehand; batches between them are padded."""

from bisect import bisect_left
from collections.abc import Sequence


def buckets(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, 8 and so on up to `max_batch`: padding never doubles the rows, and few sizes are prepared."""
    return (*(2**power for power in range((max_batch - 1).bit_length())), max_batch)


def bucket_of(rows: int, sizes: Sequence[int]) -> int:
    """The smallest of the ascending sizes that holds so many rows, at most the last."""
    return sizes[bisect_left(sizes, rows)]
