"""What a request means for a generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import Contract
from service.encoding import FORMATS, Format
from service.errors import Refusal
from service.latents import classes, latents, words
from service.resolve import Resolved, resolve
from service.schemas import GenerateRequest
from tests.generators import tiny_contract

PNG, WEBP, LOSSLESS_WEBP, *_, NPZ = FORMATS
CONDITIONAL = tiny_contract(latent_dim=4)
UNCONDITIONAL = tiny_contract(latent_dim=4, classes=())
MAPPING = tiny_contract(latent_dim=4, classes=(), truncation="mapping")


def resolved(contract: Contract = CONDITIONAL, **fields: object) -> Resolved:
    return resolve(GenerateRequest.model_validate(fields), contract, PNG)


def refused(contract: Contract = CONDITIONAL, **fields: object) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        resolved(contract, **fields)
    assert refusal.value.status == 422
    return refusal.value


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 256), st.integers(1, 256))
def test_an_address_is_drawn_as_documented(seed: int, index: int, n: int) -> None:
    got = resolved(seed=seed, index=index, n=n)
    drawn = words(seed, index, n, 4)
    assert np.array_equal(got.rows.latents, latents(drawn, "normal"))
    assert np.array_equal(got.rows.labels, classes(drawn, 3))  # type: ignore[arg-type]
    assert got.rows.truncation is None
    assert got.seed == seed
    assert got.indices.dtype == np.int64
    assert got.indices.tolist() == list(range(index, index + n))


def test_the_last_image_of_a_seed_is_there() -> None:
    assert resolved(seed=0, index=2**63 - 1).indices.tolist() == [2**63 - 1]
    assert refused(seed=0, index=2**63 - 1, n=2).field == "index"


def test_a_seed_that_is_drawn_is_exact_in_javascript() -> None:
    seeds = {resolved().seed for _ in range(100)}
    assert len(seeds) == 100
    assert all(seed is not None and 0 <= seed < 2**53 for seed in seeds)


def test_unconditional_generators_get_no_labels() -> None:
    assert resolved(UNCONDITIONAL).rows.labels is None
    assert "no classes" in refused(UNCONDITIONAL, label=0).message


@pytest.mark.parametrize(("label", "numbers"), [("c", [2, 2, 2]), (1, [1, 1, 1]), (["a", 2, "b"], [0, 2, 1])])
def test_labels_are_names_or_numbers(label: object, numbers: list[int]) -> None:
    got = resolved(seed=5, n=3, label=label)
    assert got.rows.labels is not None
    assert got.rows.labels.tolist() == numbers
    assert got.rows.labels.dtype == np.int64
    assert np.array_equal(got.rows.latents, resolved(seed=5, n=3).rows.latents)


def test_a_string_of_digits_is_a_name() -> None:
    digits = tiny_contract(latent_dim=4, classes=("3", "1", "2"))
    assert resolved(digits, label=["3"]).rows.labels.tolist() == [0]  # type: ignore[union-attr]
    assert resolved(digits, label=[2]).rows.labels.tolist() == [2]  # type: ignore[union-attr]
    assert refused(digits, label="0").field == "label"


def test_many_classes_are_not_all_listed() -> None:
    many = tiny_contract(classes=[f"class-{i}" for i in range(1000)])
    assert len(refused(many, label="x").message) < 500


def test_truncation_goes_where_the_generator_takes_it() -> None:
    drawn = words(5, 0, 2, 4)
    assert np.array_equal(
        resolved(UNCONDITIONAL, seed=5, n=2, truncation=0.5).rows.latents, latents(drawn, "normal", 0.5)
    )
    mapped = resolved(MAPPING, seed=5, n=2, truncation=0.5).rows
    assert np.array_equal(mapped.latents, latents(drawn, "normal"))
    assert mapped.truncation is not None
    assert mapped.truncation.dtype == np.float32
    assert mapped.truncation.tolist() == [0.5, 0.5]
    assert resolved(MAPPING).rows.truncation.tolist() == [1]  # type: ignore[union-attr]
    assert refused(MAPPING, truncation=1e39).field == "truncation"


def test_latents_are_taken_as_they_are() -> None:
    given_latents = [[0.1, -2.0, 3.5, 0.0], [1.0, 1.0, 1.0, 1.0]]
    got = resolved(latents=given_latents, label="b")
    assert np.array_equal(got.rows.latents, np.array(given_latents, np.float32))
    assert got.seed is None
    assert got.indices.tolist() == [0, 1]
    assert resolved(MAPPING, latents=given_latents, truncation=0.5).rows.truncation is not None


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_contact_sheet_has_to_fit_into_its_format(form: Format) -> None:
    huge = tiny_contract(height=1024, width=1024)
    request = GenerateRequest(n=256)
    if form in {WEBP, LOSSLESS_WEBP}:
        expected = f"a {form.name} of 16384 x 16384 pixels, expected at most 16383 a side"
        with pytest.raises(Refusal, match=expected):
            resolve(request, huge, form)
    else:
        assert len(resolve(request, huge, form).rows) == 256
