"""Games on the digits, and their weights."""

import torch

from training.game import Game
from training.hyperparameters import Hyperparameters
from training.run import RunRecord

CPU = torch.device("cpu")


def weights(game: Game) -> list[torch.Tensor]:
    networks = (game.generator, game.discriminator, game.average)
    return [value.clone() for network in networks for value in network.state_dict().values()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def playing(record: RunRecord, **chosen: object) -> RunRecord:
    """The record of another game on the same images."""
    settings = {"resolution": 16, "batch": 8, "warmup": 16, "seed": 3} | chosen
    return record.model_copy(update={"hyperparameters": Hyperparameters.model_validate(settings)})
