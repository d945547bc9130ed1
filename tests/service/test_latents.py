"""Latents against Philox written out here, Random123's known answers, and Python's normal distribution."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.latents import classes, latents, words

MASK = 2**64 - 1

# philox4x64 with 10 rounds: counter, key, result; from kat_vectors of Random123 (D. E. Shaw Research).
KNOWN_ANSWERS = [
    (
        "0000000000000000 0000000000000000 0000000000000000 0000000000000000",
        "0000000000000000 0000000000000000",
        "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
    ),
    (
        "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
        "ffffffffffffffff ffffffffffffffff",
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
        "452821e638d01377 be5466cf34e90c6c",
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]

# Four latents and one class of three: the words by `philox` below, the normals by mpmath 1.3 with 50 digits.
GOLDEN = [
    (0, 0, 0, [-1.3579541, 1.0623968, 1.0084275, -0.015578587]),
    (0, 1, 0, [0.005964819, -0.5899694, 1.6122322, 2.1991465]),
    (1, 0, 0, [0.8235464, 0.3529025, 1.3383203, -0.8266527]),
    (42, 7, 2, [-0.25068742, 0.6355229, -0.99476564, 0.043200944]),
    (123456789, 10**12, 1, [0.27126598, -0.5644319, 0.26643434, -0.42590356]),
    (2**53 - 1, 63, 2, [0.42985868, 0.7865741, 1.4314356, -0.30252638]),
    (2**63 - 1, 2**63 - 1, 2, [-0.0064988923, 0.37624738, -0.05371241, -1.2426656]),
]

seeds = st.integers(0, 2**63 - 1)
dims = st.integers(1, 40)
truncations = st.floats(1e-6, 1e6)
distributions = st.sampled_from(["normal", "uniform"])


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as in figure 2 of Salmon et al."""
    c, (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [p1 >> 64 ^ c[1] ^ k0, p1 & MASK, p0 >> 64 ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c


def reference_words(seed: int, index: int, dim: int) -> list[int]:
    per_index = -(-(dim + 1) // 4)
    counters = range(index * per_index, (index + 1) * per_index)
    drawn = [word for c in counters for word in philox([c >> 64 * i & MASK for i in range(4)], [seed, 0])]
    return drawn[: dim + 1]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_the_reference_gives_random123s_known_answers(counter: str, key: str, expected: str) -> None:
    def parse(text: str) -> list[int]:
        return [int(word, 16) for word in text.split()]

    assert philox(parse(counter), parse(key)) == parse(expected)


@pytest.mark.parametrize(("seed", "index", "label", "latent"), GOLDEN)
def test_golden_rows(seed: int, index: int, label: int, latent: list[float]) -> None:
    row = words(seed, index, 1, dim=4)
    assert latents(row, "normal").tolist() == [[np.float32(number) for number in latent]]
    assert classes(row, 3).tolist() == [label]


@given(seeds, st.integers(0, 2**63 - 1), dims)
def test_words_are_those_of_the_documented_layout(seed: int, index: int, dim: int) -> None:
    assert words(seed, index, 1, dim).tolist() == [reference_words(seed, index, dim)]


@given(seeds, st.integers(0, 2**63 - 8), dims, st.permutations(range(8)))
def test_a_slice_holds_its_single_rows_in_any_order(
    seed: int, start: int, dim: int, order: list[int]
) -> None:
    together = words(seed, start, 8, dim)
    assert together.shape == (8, dim + 1)
    for i in order:
        assert together[i].tolist() == words(seed, start + i, 1, dim)[0].tolist()


@pytest.mark.parametrize(
    ("seed", "start", "n"),
    [(-1, 0, 1), (2**63, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 2**63 - 4, 5), (0, 0, -1)],
)
def test_addresses_out_of_range_are_refused(seed: int, start: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0 to 2\*\*63 - 1"):
        words(seed, start, n, dim=4)


def test_the_last_address_is_in_range() -> None:
    assert words(2**63 - 1, 2**63 - 4, 4, dim=4).shape == (4, 5)


@given(st.lists(st.integers(0, MASK), min_size=2, max_size=2))
def test_normals_are_the_inverse_of_the_normal_distribution(row: list[int]) -> None:
    [[latent]] = latents(np.array([row], np.uint64), "normal")
    assert latent == pytest.approx(NormalDist().inv_cdf(((row[0] >> 11) | 1) / 2**53), rel=1e-6)


@given(st.lists(st.integers(0, MASK), min_size=2, max_size=2), st.floats(1e-3, 8))
def test_truncated_normals_are_the_inverse_of_the_truncated_distribution(row: list[int], t: float) -> None:
    [[latent]] = latents(np.array([row], np.uint64), "normal", t)
    tail = math.erfc(t / math.sqrt(2)) / 2
    expected = NormalDist().inv_cdf(tail + (1 - 2 * tail) * ((row[0] >> 11) | 1) / 2**53)
    assert latent == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("extreme", [0, MASK])
def test_the_extreme_words_give_finite_latents_inside_of_the_range(extreme: int) -> None:
    row = np.full((1, 2), extreme, np.uint64)
    [[normal]] = latents(row, "normal")
    assert normal == pytest.approx(np.copysign(8.209536, extreme - 1), rel=1e-6)
    [[uniform]] = latents(row, "uniform")
    assert abs(uniform) == 1
    assert classes(row, 10).tolist() == [0 if extreme == 0 else 9]


@given(seeds, distributions, truncations)
def test_truncation_bounds_every_latent(seed: int, distribution: str, t: float) -> None:
    truncated = latents(words(seed, 0, 64, dim=16), distribution, t)  # type: ignore[arg-type]
    assert truncated.dtype == np.float32
    assert np.abs(truncated).max() <= np.float32(t)


@given(seeds, distributions)
def test_a_wide_truncation_changes_nothing(seed: int, distribution: str) -> None:
    row = words(seed, 0, 16, dim=16)
    free = latents(row, distribution)  # type: ignore[arg-type]
    assert np.array_equal(free, latents(row, distribution, 1e300))  # type: ignore[arg-type]


@given(seeds, truncations)
def test_truncation_keeps_the_order_of_latents(seed: int, t: float) -> None:
    row = words(seed, 0, 1, dim=64)
    [free], [truncated] = latents(row, "normal"), latents(row, "normal", t)
    assert (np.diff(truncated[np.argsort(free)]) >= 0).all()


@pytest.mark.parametrize(
    ("distribution", "truncation", "expected"),
    [
        ("normal", None, stats.norm()),
        ("normal", 0.7, stats.truncnorm(-0.7, 0.7)),
        ("uniform", None, stats.uniform(-1, 2)),
        ("uniform", 0.5, stats.uniform(-0.5, 1)),
        ("uniform", 2.0, stats.uniform(-1, 2)),
    ],
)
def test_latents_follow_their_distribution(
    distribution: str, truncation: float | None, expected: object
) -> None:
    drawn = latents(words(7, 0, 2000, dim=16), distribution, truncation).ravel()  # type: ignore[arg-type]
    assert stats.kstest(drawn, expected.cdf).pvalue > 0.01  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_every_class_is_as_likely(count: int) -> None:
    drawn = classes(words(7, 0, 20_000, dim=1), count)
    assert drawn.dtype == np.int64
    assert stats.chisquare(np.bincount(drawn, minlength=count)).pvalue > 0.01


@given(seeds, st.integers(1, 2**31))
def test_classes_are_in_range(seed: int, count: int) -> None:
    drawn = classes(words(seed, 0, 8, dim=3), count)
    assert ((drawn >= 0) & (drawn < count)).all()
