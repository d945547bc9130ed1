import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from training.augment import NUMBERS, Strength, augment

COLOUR, TRANSLATION, CUTOUT = range(3)


def numbers(*changes: int, **sizes: float) -> Tensor:
    """Of one image: they choose `changes` at a strength of 0.5, of sizes that are in the middle."""
    names = ("brightness", "saturation", "contrast", "vertical", "horizontal", "row", "column")
    chosen = [0.0 if change in changes else 1.0 for change in range(3)]
    return torch.tensor([chosen + [sizes.get(name, 0.5) for name in names]])


def random(seed: int, number: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(number, 3, 16, 16, generator=generator) * 2 - 1
    return images, torch.rand(number, NUMBERS, generator=generator)


@given(st.integers(0, 2**32 - 1))
def test_without_strength_nothing_changes(seed: int) -> None:
    images, uniform = random(seed)
    assert augment(images, uniform, 0) is images


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"brightness": 0.9}, lambda image: image + 0.4),
        ({"saturation": 0}, lambda image: image.mean(dim=1, keepdim=True).expand_as(image)),
        ({"contrast": 0}, lambda image: (image + image.mean()) / 2),
        ({"contrast": 1}, lambda image: image * 1.5 - image.mean() / 2),
    ],
)
def test_colour(sizes: dict[str, float], expected: object) -> None:
    image = random(0, 1)[0]
    found = augment(image, numbers(COLOUR, **sizes), 0.5)
    assert callable(expected)
    assert torch.allclose(found, expected(image), atol=1e-5)


@pytest.mark.parametrize(
    ("vertical", "horizontal", "down", "right"),
    [(0, 0.5, 2, 0), (0.999, 0.5, -2, 0), (0.5, 0, 0, 2), (0.3, 0.999, 1, -2)],
)
def test_translation_by_up_to_an_eighth_fills_with_0(
    vertical: float, horizontal: float, down: int, right: int
) -> None:
    image = random(1, 1)[0]
    found = augment(image, numbers(TRANSLATION, vertical=vertical, horizontal=horizontal), 0.5)
    assert torch.equal(found, F.pad(image, (right, -right, down, -down)))


@pytest.mark.parametrize(
    ("row", "column", "hidden"), [(0.5, 0.5, 64), (0, 0, 16), (0.999, 0.5, 32), (0.5, 0.25, 64)]
)
def test_cutout_hides_a_square_of_half_the_side_as_far_as_the_image_goes(
    row: float, column: float, hidden: int
) -> None:
    found = augment(torch.ones(1, 3, 16, 16), numbers(CUTOUT, row=row, column=column), 0.5)
    assert (found[0, 0] == 0).sum() == hidden
    assert torch.equal(found[0, 0], found[0, 2])


def test_each_image_has_its_chance_of_each_change() -> None:
    images, uniform = (
        torch.ones(4000, 1, 8, 8),
        torch.rand(4000, NUMBERS, generator=torch.Generator().manual_seed(0)),
    )
    uniform[:, 3:] = 0.9  # far enough from the middle to show
    for change in range(3):
        only = uniform.clone()
        only[:, [other for other in range(3) if other != change]] = 1.0
        changed = (augment(images, only, 0.3) != images).flatten(1).any(dim=1).float().mean()
        assert changed.item() == pytest.approx(0.3, abs=0.03)


def test_it_is_differentiable() -> None:
    images, uniform = random(3, 2)
    images = images.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, uniform.double(), 0.7), images)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_an_image_is_changed_by_its_own_numbers_alone(seed: int, strength: float) -> None:
    images, uniform = random(seed)
    together = augment(images, uniform, strength)
    alone = torch.cat(
        [augment(image[None], row[None], strength) for image, row in zip(images, uniform, strict=True)]
    )
    assert torch.allclose(together, alone, atol=1e-6)


def strength_after(signs: list[float], batch: int = 64) -> float:
    strength = Strength("adaptive")
    for sign in signs:
        strength.observe(torch.tensor(sign), batch)
    return strength.value


def test_an_adaptive_strength_rises_while_the_discriminator_is_too_sure() -> None:
    # every 4 batches of 64, by 256 / 500,000
    assert strength_after([0.7] * 8) == pytest.approx(2 * 256 / 500_000)
    assert strength_after([0.7] * 8 + [0.5] * 4) == pytest.approx(256 / 500_000)
    assert strength_after([0.5] * 8) == 0
    assert strength_after([0.0, 0.9, 0.9, 0.9]) > 0  # it is the mean of four that counts
    assert strength_after([0.7] * 3) == 0
    assert strength_after([1.0] * 40, batch=50_000) == 0.8


def test_a_fixed_strength_stays() -> None:
    strength = Strength(0.4)
    for _ in range(8):
        strength.observe(torch.tensor(1.0), 64)
    assert strength.value == 0.4


@pytest.mark.parametrize("before", range(9))
def test_it_resumes_where_it_was(before: int) -> None:
    signs = list(np.linspace(0.4, 0.9, 12))
    first, second = Strength("adaptive"), Strength("adaptive")
    for sign in signs[:before]:
        first.observe(torch.tensor(sign), 64)
    second.load_state_dict(first.state_dict())
    for sign in signs[before:]:
        second.observe(torch.tensor(sign), 64)
    assert second.value == strength_after(signs) > 0
