import numpy as np
import torch

from tests.digits import digits
from training.classifier import fit


def test_it_learns_handwritten_digits() -> None:
    images, labels = digits()
    images = images.repeat(2, 1).repeat(2, 2)[..., None]
    test = np.arange(len(images)) % 5 == 0
    classifier = fit(images[~test], labels[~test], 10, presentations=15_000, seed=0, title="digits")
    assert (classifier.predict(images[test]) == labels[test]).mean() > 0.95
    known, unknown = classifier.features(images[~test]), classifier.features(images[test])
    assert unknown.dtype == np.float32
    assert unknown.shape == (test.sum(), 64)
    # what it learned is in the features: the nearest training image has the class
    squares = ((unknown[:, np.newaxis] - known) ** 2).sum(axis=2)
    assert (labels[~test][squares.argmin(axis=1)] == labels[test]).mean() > 0.9


def test_a_seed_reproduces_it() -> None:
    images, labels = digits()
    images = images.repeat(2, 1).repeat(2, 2)[..., None]
    first, second = (
        fit(images, labels, 10, presentations=1_000, seed=5, title="digits").state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_images_may_be_fewer_than_a_batch() -> None:
    images = np.zeros((20, 16, 16, 3), np.uint8)
    images[10:] = 255
    labels = np.repeat([0, 1], 10)
    classifier = fit(images, labels, 2, presentations=4_000, seed=0, title="few")
    assert (classifier.predict(images) == labels).all()


def test_turns_are_learned_and_make_features_that_know_classes_they_never_saw() -> None:
    images, labels = digits()
    images = images.repeat(2, 1).repeat(2, 2)[..., None]
    test = np.arange(len(images)) % 5 == 0
    classifier = fit(images[~test], labels[~test], 0, presentations=20_000, seed=0, title="turns")
    for turn in range(4):
        turned = np.rot90(images[test], turn, axes=(1, 2)).copy()
        assert (classifier.predict(turned) == turn).mean() > 0.85
    known, unknown = classifier.features(images[~test]), classifier.features(images[test])
    squares = ((unknown[:, np.newaxis] - known) ** 2).sum(axis=2)
    assert (labels[~test][squares.argmin(axis=1)] == labels[test]).mean() > 0.8
