from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import truncnorm

from tests.generators import tiny_contract, tiny_generator
from training.exported import ExportedGenerator


def drawn(distribution: Literal["normal", "uniform"], truncation: float | None) -> NDArray[np.float32]:
    contract = tiny_contract(distribution=distribution)
    model = tiny_generator(distribution=distribution).SerializeToString()
    exported = ExportedGenerator(model, contract)
    return exported.latents(np.random.default_rng(0), 10_000, truncation)


@pytest.mark.parametrize("truncation", [0.75, 1.5, None])
def test_normal_latents_are_truncated_and_not_clipped(truncation: float | None) -> None:
    latents = drawn("normal", truncation)
    assert latents.dtype == np.float32
    bound = np.inf if truncation is None else truncation
    assert np.abs(latents).max() <= bound
    assert latents.std() == pytest.approx(truncnorm(-bound, bound).std(), rel=0.01)


@pytest.mark.parametrize(("truncation", "bound"), [(0.4, 0.4), (3, 1), (None, 1)])
def test_uniform_latents_are_scaled(truncation: float | None, bound: float) -> None:
    latents = drawn("uniform", truncation)
    assert np.abs(latents).max() <= bound
    assert latents.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)
