"""All that decides the weights besides the data: what can be chosen, its defaults, and what is refused."""

from collections.abc import Collection
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from training.losses import LOSSES
from training.networks import PRESETS, RESOLUTIONS
from training.normalization import NORMALIZATIONS
from training.penalties import PENALTIES

# What is not chosen follows the architecture, as its authors trained it.
_FIELDS = ("loss", "penalty", "normalization", "batch", "learning_rate", "betas", "ema", "warmup")
DEFAULTS: dict[str, dict[str, Any]] = {
    architecture: dict(zip(_FIELDS, row, strict=True))
    for architecture, row in {
        #         loss            penalty  normal.  batch  rate  betas        ema     warmup
        "r3gan": ("relativistic-pairing", "r1+r2", "none",  32,    5e-4, (0.0, 0.99), 20_000, 6_400),
    }.items()
}  # fmt: skip
# The Wasserstein distance needs a critic whose gradients are bounded.
LOSS_PENALTY = {"wasserstein": "wgan-gp"}
PENALTY_GAMMA = {"none": 0.0, "r1": 1.0, "r2": 1.0, "r1+r2": 1.0, "wgan-gp": 10.0}


def _one_of(known: Collection[object]) -> AfterValidator:
    def check(value: object) -> object:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(map(str, known))}")
        return value

    return AfterValidator(check)


class Hyperparameters(BaseModel):
    """Those of one run; what is left out is taken from DEFAULTS.

    penalty: on the discriminator's gradients, weighed by gamma; normalization: of the discriminator.
    batch, ema, warmup: in images. ema is the half-life of the generator's moving average; over the first
    `warmup` images the learning rate rises from 0. betas: of Adam. Raises ValidationError for values that
    are unknown, or make no sense together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Annotated[str, _one_of(DEFAULTS)] = "r3gan"
    preset: Annotated[str, _one_of(PRESETS)] = "tiny"
    resolution: Annotated[int, _one_of(RESOLUTIONS)] = 32
    loss: Annotated[str, _one_of(LOSSES)]
    penalty: Annotated[str, _one_of(PENALTIES)]
    gamma: float = Field(ge=0, allow_inf_nan=False)
    normalization: Annotated[str, _one_of(NORMALIZATIONS)]
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    betas: tuple[float, float]
    ema: int = Field(gt=0)
    warmup: int = Field(ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: dict[str, Any]) -> dict[str, Any]:
        row = DEFAULTS.get(given.get("architecture", "r3gan"), DEFAULTS["r3gan"])
        filled = row | {"penalty": LOSS_PENALTY.get(given.get("loss", ""), row["penalty"])} | given
        return {"gamma": PENALTY_GAMMA.get(filled["penalty"], 0.0)} | filled

    @model_validator(mode="after")
    def _refuse_nonsense(self) -> Self:
        if self.loss == "wasserstein" and self.penalty == "none" and self.normalization != "spectral":
            raise ValueError(
                "the wasserstein loss grows without end unless the discriminator's gradients are bounded; "
                "choose a penalty, or spectral normalization"
            )
        if self.gamma and self.penalty == "none":
            raise ValueError(f"gamma {self.gamma:g} weighs a penalty, but the penalty is none; choose one")
        if not self.gamma and self.penalty != "none":
            raise ValueError(f"gamma 0 takes the penalty {self.penalty} away; choose the penalty none")
        return self

    @property
    def game(self) -> str:
        """The loss with all that belongs to it, for contracts and cards."""
        parts = [self.loss]
        if self.penalty != "none":
            parts.append(f"{self.penalty} with gamma {self.gamma:g}")
        if self.normalization != "none":
            parts.append(f"{self.normalization} normalization of the discriminator")
        return ", ".join(parts)
