"""Distances between two sets of images, real and generated, as features float32 [n, d]."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
_Floats = NDArray[np.float64]
BLOCK = 2**24  # pairs that are in memory at once: 128 MiB


class Neighbourhoods(NamedTuple):
    """Shares of 1, but for density, which may exceed it.

    precision: generated images within the reach of a real one; recall: real images within the reach of a
    generated one (Kynkaanniemi et al. 2019, arXiv 1904.06991).
    density: real images that reach a generated one, over k; coverage: real images that reach a generated one
    (Naeem et al. 2020, arXiv 2002.09797).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet(real: Features, generated: Features) -> float:
    """Squared distance between the Gaussians with the sets' means and covariances (Heusel et al. 2017).

    arXiv 1706.08500, section 2.
    """
    (mean, factor), (other_mean, other_factor) = _gaussian(real), _gaussian(generated)
    # for C = A'A, the trace of (C1 C2)^(1/2) is the sum of the singular values of A1 A2': no root of a
    # rounded negative eigenvalue, however few images there are
    overlap = np.linalg.svd(factor @ other_factor.T, compute_uv=False).sum()
    squares = (factor**2).sum() + (other_factor**2).sum() - 2 * overlap
    return float(max(0, ((mean - other_mean) ** 2).sum() + squares))


def kernel(real: Features, generated: Features) -> float:
    """Squared maximum mean discrepancy under (x'y / d + 1)^3, without bias, so that it may be negative.

    Binkowski et al. 2018, arXiv 1801.01401, section 4; over all pairs rather than subsets.
    """
    x, y = real.astype(np.float64), generated.astype(np.float64)
    n, m = len(x), len(y)
    within = (_cubic_sum(x, x) - _cubic_diagonal(x)) / (n * (n - 1))
    within_other = (_cubic_sum(y, y) - _cubic_diagonal(y)) / (m * (m - 1))
    return float(within + within_other - 2 * _cubic_sum(x, y) / (n * m))


def neighbourhoods(real: Features, generated: Features, k: int) -> Neighbourhoods:
    """An image reaches as far as its k-th nearest neighbour in its own set, which is not within its reach.

    Two equal sets then have density 1. Raises ValueError when a set has not more than k images.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(f"{min(len(real), len(generated))} images have no {k}-th neighbour each")
    # small numbers lose less when squared distances are differences of squares
    centre = real.mean(axis=0, dtype=np.float64)
    x, y = real - centre, generated - centre
    reach, other_reach = _reach(x, k), _reach(y, k)
    reached = np.zeros(len(y), np.int64)
    covered, recalled = [], []
    for rows, distances in _squared_distances(x, y):
        inside = distances < reach[rows, np.newaxis]
        reached += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((distances < other_reach).any(axis=1))
    return Neighbourhoods(
        precision=float((reached > 0).mean()),
        recall=float(np.concatenate(recalled).mean()),
        density=float(reached.mean() / k),
        coverage=float(np.concatenate(covered).mean()),
    )


def _gaussian(features: Features) -> tuple[_Floats, _Floats]:
    """The mean [d] and a factor A [min(n, d), d] of the covariance A'A."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    factor: _Floats = np.linalg.qr((wide - mean) / np.sqrt(len(wide) - 1), mode="r")  # type: ignore[assignment]
    return mean, factor


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, BLOCK // columns)
    return (slice(start, min(rows, start + size)) for start in range(0, rows, size))


def _cubic(products: _Floats, d: int) -> _Floats:
    base = products / d + 1
    return base * base * base  # ten times as fast as a power


def _cubic_sum(x: _Floats, y: _Floats) -> float:
    return sum(float(_cubic(x[rows] @ y.T, x.shape[1]).sum()) for rows in _blocks(len(x), len(y)))


def _cubic_diagonal(x: _Floats) -> float:
    return float(_cubic((x**2).sum(axis=1), x.shape[1]).sum())


def _squared_distances(x: _Floats, y: _Floats) -> Iterator[tuple[slice, _Floats]]:
    """Blocks of rows of x with their squared distances [rows, len(y)]."""
    squares, other_squares = (x**2).sum(axis=1), (y**2).sum(axis=1)
    for rows in _blocks(len(x), len(y)):
        distances = x[rows] @ y.T
        distances *= -2
        distances += squares[rows, np.newaxis]
        distances += other_squares
        yield rows, np.maximum(distances, 0, out=distances)


def _reach(x: _Floats, k: int) -> _Floats:
    """Squared distance of each row to its k-th nearest other row."""
    reach = []
    for rows, distances in _squared_distances(x, x):
        numbers = np.arange(rows.start, rows.stop)
        distances[numbers - rows.start, numbers] = np.inf
        reach.append(np.partition(distances, k - 1, axis=1)[:, k - 1])
    return np.concatenate(reach)
