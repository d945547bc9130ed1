import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.batches import batch_rows, draw, draw_latents


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 60), st.integers(1, 5), st.integers(0, 9))
def test_an_epoch_shows_every_image_once(seed: int, batch: int, size: int, epochs: int, skip: int) -> None:
    # read batch by batch from the start of an epoch, each stretch of `size` rows is a permutation
    start = skip * size
    steps = -(-epochs * size // batch)
    rows = np.concatenate([batch_rows(seed, start + step * batch, batch, size) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [batch_rows(seed, epoch * 100, 100, 100).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@given(st.integers(0, 2**62), st.integers(0, 2**40))
def test_draws_follow_from_the_seed_and_the_images_seen(seed: int, seen: int) -> None:
    first, again, later = (draw(seed, images, 6, 10, ("normal", 4)) for images in (seen, seen, seen + 6))
    assert np.array_equal(first.rows, again.rows)
    assert all(torch.equal(one, other) for one, other in zip(first[1:], again[1:], strict=True))
    assert not torch.equal(first.latents, later.latents)
    assert not torch.equal(first.latents[0], first.latents[1])


def test_parts_are_the_whole() -> None:
    whole = draw(1, 0, 6, 10, ("uniform", 4))
    first, second = whole.part(0, 4), whole.part(4, 6)
    assert np.array_equal(np.concatenate([first.rows, second.rows]), whole.rows)
    for name, axis in (("latents", 1), ("mix", 0), ("mirrored", 0), ("augmentation", 1)):
        joined = torch.cat([getattr(first, name), getattr(second, name)], dim=axis)
        assert torch.equal(joined, getattr(whole, name))


def test_latents_are_of_their_distribution() -> None:
    random = torch.Generator().manual_seed(0)
    uniform, normal = (draw_latents(kind, 100, 500, random) for kind in ("uniform", "normal"))
    assert uniform.abs().max() <= 1
    assert abs(uniform.mean().item()) < 0.02
    assert abs(uniform.var().item() - 1 / 3) < 0.01
    assert abs(normal.mean().item()) < 0.02
    assert abs(normal.var().item() - 1) < 0.03
