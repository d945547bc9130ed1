"""Seeds are addresses: row `index` of `seed` is always the same numbers, whatever was drawn with it.

The layout, for another implementation (all integers are unsigned 64-bit words, least significant first):

- Philox4x64-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), key (seed, 0).
- With a latent of `dim` numbers an index owns B = ceil((dim + 1) / 4) values of the 256-bit counter, those
  from index * B on. Each gives four words, so an index owns 4 B of them: w[0] to w[dim - 1] make the latent,
  w[dim] draws the class, the others are left.
- Uniform: u = ((w >> 11) | 1) / 2**53, an odd multiple of 2**-53: never 0 or 1, and symmetric around 1/2.
- Normal: the inverse of the normal distribution function P at u, in float64, rounded to float32.
  Truncated to [-t, t]: the same at P(-t) + u (1 - 2 P(-t)).
- Uniform on [-1, 1]: 2 u - 1. Truncated to [-t, t]: min(t, 1) (2 u - 1), so that a t above 1 changes nothing.
- Class: ((w >> 32) * classes) >> 32. A class that is named leaves its word unused and the latent as it was.
"""

import threading
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from service.limits import INDEXES, SEEDS

Words = npt.NDArray[np.uint64]

_kept = threading.local()
_NOTHING = np.zeros(4, np.uint64)


def words(seed: int, start: int, n: int, dim: int) -> Words:
    """The random words of the rows [start, start + n): uint64 [n, dim + 1].

    Raises ValueError unless 0 <= seed < 2**63, start >= 0 and start + n <= 2**63.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed is {seed}, expected 0 to 2**63 - 1")
    if start < 0 or n < 0 or start + n > INDEXES:
        raise ValueError(f"rows {start} to {start + n - 1} are asked for, expected 0 to 2**63 - 1")
    counters = -(-(dim + 1) // 4)
    # NumPy increments the counter before it uses it.
    before_first = (start * counters - 1) % 2**256
    drawn: Words = _philox(seed, before_first).random_raw(n * counters * 4)
    return drawn.reshape(n, counters * 4)[:, : dim + 1]


def _philox(key: int, counter: int) -> np.random.Philox:
    """The generator with this key at this counter. One a thread is kept, since to make one takes 50 us."""
    if (philox := getattr(_kept, "philox", None)) is None:
        philox = _kept.philox = np.random.Philox(key=0)
    philox.state = {
        "bit_generator": "Philox",
        "state": {"counter": _limbs(counter), "key": np.array([key, 0], np.uint64)},
        "buffer": _NOTHING,
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return philox


def _limbs(number: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(number.to_bytes(32, "little"), np.uint64)


def latents(
    words: Words, distribution: Literal["normal", "uniform"], truncation: float | None = None
) -> npt.NDArray[np.float32]:
    """The latents of the rows with these words, truncated to [-truncation, truncation]: float32 [n, dim]."""
    odd = (words[:, :-1] >> np.uint64(11)) | np.uint64(1)
    uniforms = odd.view(np.int64) * 2.0**-53  # signed integers become floats in less time
    if distribution == "uniform":
        bound = 1.0 if truncation is None else min(truncation, 1.0)
        return (bound * (2 * uniforms - 1)).astype(np.float32)
    if truncation is None:
        normals: npt.NDArray[np.float64] = ndtri(uniforms)
    else:
        tail = ndtr(-truncation)
        # Rounding may step over the edge by a hair.
        normals = ndtri(tail + uniforms * (1 - 2 * tail)).clip(-truncation, truncation)
    return normals.astype(np.float32)


def classes(words: Words, count: int) -> npt.NDArray[np.int64]:
    """The class drawn for each of the rows with these words, each of `count` as likely: int64 [n]."""
    return ((words[:, -1] >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
