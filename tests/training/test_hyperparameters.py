from typing import Any

import pytest
from pydantic import ValidationError

from training.hyperparameters import DEFAULTS, PENALTY_GAMMA, Hyperparameters
from training.losses import LOSSES
from training.networks import NORMALIZATIONS


@pytest.mark.parametrize("architecture", DEFAULTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_any_loss_goes_with_any_architecture(architecture: str, loss: str) -> None:
    settings = Hyperparameters.model_validate({"architecture": architecture, "loss": loss})
    assert (settings.architecture, settings.loss) == (architecture, loss)
    assert settings == Hyperparameters.model_validate(settings.model_dump())
    assert settings == Hyperparameters.model_validate_json(settings.model_dump_json())


def test_what_is_left_out_follows_what_is_chosen() -> None:
    settings = Hyperparameters.model_validate({})
    assert (settings.loss, settings.penalty, settings.gamma.start) == ("relativistic-pairing", "r1+r2", 1)
    critic = Hyperparameters.model_validate({"loss": "wasserstein"})
    assert (critic.penalty, critic.gamma.start) == ("wgan-gp", 10)  # Gulrajani et al. 2017, section 4
    zero_sum = Hyperparameters.model_validate({"architecture": "dcgan", "loss": "minimax"})
    assert (zero_sum.penalty, zero_sum.normalization) == ("r1", "none")
    dcgan = Hyperparameters.model_validate({"architecture": "dcgan"})
    # Radford et al. 2016, section 4
    assert (dcgan.batch, dcgan.learning_rate.start, dcgan.betas[0]) == (128, 2e-4, 0.5)
    assert (dcgan.latent, dcgan.normalization, dcgan.penalty) == ("uniform", "batch", "none")
    # batch normalisation gives way to a penalty on the gradient of each image
    assert Hyperparameters.model_validate({"architecture": "dcgan", "penalty": "r1"}).normalization == "none"
    bare = Hyperparameters.model_validate({"loss": "hinge", "penalty": "none", "normalization": "spectral"})
    assert bare.gamma.start == 0


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (
            {"loss": "wasserstein", "penalty": "none"},
            "has no bound unless the discriminator",
        ),
        ({"penalty": "none", "gamma": 2}, "gamma 2 weighs a penalty, but the penalty is none"),
        ({"penalty": "r1", "gamma": 0}, "gamma 0 takes the penalty r1 away"),
        ({"loss": "l2"}, "expected one of minimax, non-saturating, least-squares, hinge, wasserstein"),
        ({"penalty": "r3"}, "expected one of none, r1, r2, r1.r2, wgan-gp"),
        ({"normalization": "group"}, "expected one of none"),
        ({"architecture": "biggan"}, "expected one of r3gan"),
        ({"gama": 1}, "Extra inputs are not permitted"),
        ({"normalization": "batch"}, "r3gan's networks hold no batch normalisation"),
        (
            {"architecture": "dcgan", "penalty": "wgan-gp", "normalization": "batch"},
            "the penalty wgan-gp is on the gradient of each image by itself",
        ),
        ({"architecture": "dcgan", "microbatch": 1}, "batch normalisation needs two images at once"),
        ({"batch": 32, "microbatch": 12}, "a batch of 32 is no multiple of microbatches of 12"),
        ({"learning_rate": "1e-3..1e-4"}, "values that change, A..B, need --schedule"),
        ({"schedule": 100}, "--schedule is for values that change"),
        ({"learning_rate": "1e-3..0", "schedule": 100}, "expected more than 0"),
        ({"learning_rate": "fast"}, "expected a number, or two such as 5e-4..5e-5"),
        ({"gamma": -1}, "greater than or equal to 0"),
        ({"augment": "sometimes"}, "expected adaptive, or a probability from 0 to 1"),
        ({"augment": 1.5}, "expected adaptive, or a probability from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(chosen: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Hyperparameters.model_validate(chosen)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({}, "relativistic-pairing, r1+r2 with gamma 1"),
        ({"gamma": 0.3, "penalty": "r1"}, "relativistic-pairing, r1 with gamma 0.3"),
        (
            {"loss": "hinge", "penalty": "none", "normalization": "spectral"},
            "hinge, spectral normalization of the discriminator",
        ),
        (
            {"gamma": "2..0.2", "schedule": 900, "augment": "adaptive"},
            "relativistic-pairing, r1+r2 with gamma 2..0.2, augmentation adaptive",
        ),
    ],
)
def test_the_game_in_words(chosen: dict[str, Any], words: str) -> None:
    assert Hyperparameters.model_validate(chosen).loss_in_words == words


def test_every_default_is_a_choice() -> None:
    for row in DEFAULTS.values():
        assert row["loss"] in LOSSES
        assert row["penalty"] in PENALTY_GAMMA
        assert row["normalization"] in NORMALIZATIONS
