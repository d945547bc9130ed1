"""Against closed forms, scipy's matrix square root and plain loops."""

import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training import distances
from training.distances import frechet, kernel, neighbourhoods

Features = NDArray[np.float32]


def normal(n: int, d: int, seed: int) -> Features:
    return np.random.default_rng(seed).standard_normal((n, d), np.float32)


def exact_gaussian(
    n: int, mean: NDArray[np.float64], covariance: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """n rows whose sample mean and sample covariance are those."""
    rows = normal(n, len(mean), seed).astype(np.float64)
    rows -= rows.mean(axis=0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(rows.T))).T)
    return np.asarray(white @ np.linalg.cholesky(covariance).T + mean)


def covariance(d: int, seed: int) -> NDArray[np.float64]:
    rows = normal(3 * d, d, seed).astype(np.float64)
    return np.atleast_2d(np.cov(rows.T))


def test_frechet_of_gaussians_that_share_axes() -> None:
    mean, other_mean = np.array([0.0, 1.0, -2.0]), np.array([3.0, 1.0, 2.0])
    variance, other_variance = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    closed_form = ((mean - other_mean) ** 2).sum() + ((variance**0.5 - other_variance**0.5) ** 2).sum()
    real = exact_gaussian(500, mean, np.diag(variance), 1)
    generated = exact_gaussian(300, other_mean, np.diag(other_variance), 2)
    assert frechet(real.astype(np.float32), generated.astype(np.float32)) == pytest.approx(
        closed_form, rel=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 40), seed=st.integers(0, 1000))
def test_frechet_agrees_with_the_matrix_square_root(d: int, seed: int) -> None:
    first, second = covariance(d, seed), covariance(d, seed + 1)
    mean = normal(1, d, seed)[0].astype(np.float64)
    root = np.real(scipy.linalg.sqrtm(first @ second))
    expected = (mean**2).sum() + np.trace(first + second - 2 * root)
    real = exact_gaussian(2 * d + 2, mean, first, seed)
    generated = exact_gaussian(3 * d + 2, np.zeros(d), second, seed + 2)
    assert frechet(real.astype(np.float32), generated.astype(np.float32)) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )


def test_frechet_with_fewer_images_than_features() -> None:
    real, generated = normal(30, 64, 1), normal(40, 64, 2) * 2 + 1
    products = np.linalg.eigvals(np.cov(real.T) @ np.cov(generated.T))
    expected = (
        ((real.mean(axis=0) - generated.mean(axis=0)) ** 2).sum()
        + np.trace(np.cov(real.T) + np.cov(generated.T))
        - 2 * np.sqrt(np.abs(products[np.abs(products) > 1e-8])).sum()
    )
    assert frechet(real, generated) == pytest.approx(expected, rel=1e-4)


def test_frechet_of_equal_and_of_shifted_sets() -> None:
    real = normal(200, 50, 3)
    assert frechet(real, real) == pytest.approx(0, abs=1e-9)
    assert frechet(real, real + np.float32(2)) == pytest.approx(50 * 4, rel=1e-5)
    assert frechet(real, real[:120]) == pytest.approx(frechet(real[:120], real))


def test_kernel_agrees_with_plain_loops() -> None:
    real, generated = normal(9, 4, 1).astype(float), normal(7, 4, 2).astype(float) + 0.5

    def value(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float((x @ y / 4 + 1) ** 3)

    expected = (
        np.mean([value(x, y) for x, y in itertools.permutations(real, 2)])
        + np.mean([value(x, y) for x, y in itertools.permutations(generated, 2)])
        - 2 * np.mean([value(x, y) for x in real for y in generated])
    )
    assert kernel(real.astype(np.float32), generated.astype(np.float32)) == pytest.approx(expected, rel=1e-5)


def test_kernel_of_one_feature_compares_three_moments() -> None:
    """(1 + xy)^3 = 1 + 3xy + 3x²y² + x³y³; moments of N(0, 1) and N(1, 1): 0, 1, 0 and 1, 2, 4."""
    values = [kernel(normal(1500, 1, seed), normal(1500, 1, 100 + seed) + 1) for seed in range(10)]
    assert np.mean(values) == pytest.approx(3 * 1 + 3 * 1 + 16, rel=0.05)


def test_kernel_has_no_bias() -> None:
    values = [kernel(normal(20, 8, seed), normal(25, 8, 1000 + seed)) for seed in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def loops(real: Features, generated: Features, k: int) -> tuple[float, float, float, float]:
    def reach(rows: Features) -> list[float]:
        return [sorted(float(np.linalg.norm(row - other)) for other in rows)[k] for row in rows]

    gap = [[float(np.linalg.norm(x - y)) for y in generated] for x in real]
    inside = np.array([[d < r for d in row] for row, r in zip(gap, reach(real), strict=True)])
    inside_other = np.array([[d < r for d, r in zip(row, reach(generated), strict=True)] for row in gap])
    return (
        inside.any(axis=0).mean(),
        inside_other.any(axis=1).mean(),
        inside.sum() / (k * len(generated)),
        inside.any(axis=1).mean(),
    )


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(6, 40),
    m=st.integers(6, 40),
    d=st.integers(1, 6),
    k=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_neighbourhoods_agree_with_plain_loops(n: int, m: int, d: int, k: int, seed: int) -> None:
    real, generated = normal(n, d, seed), normal(m, d, seed + 1) * np.float32(0.8) + np.float32(0.3)
    assert neighbourhoods(real, generated, k) == pytest.approx(loops(real, generated, k))


def test_neighbourhoods_of_known_cases() -> None:
    # whole numbers around 0: no rounding, which differs by machine, decides who is within reach of whom
    half = (normal(150, 5, 1) * 2**18).round()
    real = np.concatenate([half, -half])
    assert neighbourhoods(real, real, 3) == (1, 1, 1, 1)
    assert neighbourhoods(real, real + 2**22, 3) == (0, 0, 0, 0)


def test_half_of_the_modes_have_precision_but_half_the_recall() -> None:
    modes = np.repeat(np.array([[0, 0], [50, 0]], np.float32), 200, axis=0)
    real, generated = normal(400, 2, 1) + modes, normal(400, 2, 2)
    found = neighbourhoods(real, generated, 5)
    assert found.precision > 0.95
    assert 0.45 < found.recall < 0.55
    assert 0.45 < found.coverage < 0.55


def test_one_picture_alone_is_precise_and_recalls_nothing() -> None:
    real = normal(300, 5, 1)
    found = neighbourhoods(real, real[:1].repeat(100, axis=0), 3)
    assert found.precision == 1
    assert found.recall <= 1 / 300
    assert found.coverage < 0.05


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(70, 6, 1), normal(50, 6, 2) + np.float32(0.2)
    whole = kernel(real, generated), *neighbourhoods(real, generated, 3)
    monkeypatch.setattr(distances, "BLOCK", 200)
    assert (kernel(real, generated), *neighbourhoods(real, generated, 3)) == pytest.approx(whole)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images have no 3-th neighbour"):
        neighbourhoods(normal(10, 2, 1), normal(3, 2, 2), 3)
