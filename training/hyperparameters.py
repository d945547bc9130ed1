"""All that decides the weights besides the data: what can be chosen, its defaults, and what is refused."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from training.losses import LOSSES
from training.networks import NORMALIZATIONS, PRESETS, RESOLUTIONS
from training.schedule import Schedule

LATENTS = ("normal", "uniform")
PRECISIONS = ("float32", "bfloat16")
# What is not chosen follows the architecture. Of dcgan it is the paper's, but for the average; of r3gan what
# suits small networks and the few images a second of a CPU: the paper has batches of hundreds, falling rates.
DEFAULTS: dict[str, dict[str, Any]] = {
    "r3gan": {
        "loss": "relativistic-pairing", "penalty": "r1+r2", "normalization": "none", "latent": "normal",
        "batch": 32, "learning_rate": 5e-4, "betas": (0.0, 0.99), "ema": 20_000, "warmup": 6_400,
    },
    "dcgan": {
        "loss": "non-saturating", "penalty": "none", "normalization": "batch", "latent": "uniform",
        "batch": 128, "learning_rate": 2e-4, "betas": (0.5, 0.999), "ema": 20_000, "warmup": 0,
    },
}  # fmt: skip
# A Wasserstein critic needs bounded gradients (Gulrajani et al. 2017), and the zero-sum game does not
# converge by itself (Mescheder et al. 2018): the discriminator wins, and its gradient vanishes.
LOSS_PENALTY = {"wasserstein": "wgan-gp", "minimax": "r1"}
PENALTY_GAMMA = {"none": 0.0, "r1": 1.0, "r2": 1.0, "r1+r2": 1.0, "wgan-gp": 10.0}


def _one_of(known: Collection[object]) -> AfterValidator:
    def check(value: object) -> object:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(map(str, known))}")
        return value

    return AfterValidator(check)


def _strength(given: object) -> object:
    if given == "adaptive":
        return given
    try:
        strength = float(str(given))
    except ValueError:
        strength = -1
    if not 0 <= strength <= 1:
        raise ValueError("expected adaptive, or a probability from 0 to 1")
    return strength


def _positive(schedule: Schedule) -> Schedule:
    if not (schedule.start and schedule.end):
        raise ValueError("expected more than 0")
    return schedule


class Hyperparameters(BaseModel):
    """Those of one run; what is left out is taken from DEFAULTS.

    penalty: on the discriminator's gradients, weighed by gamma; normalization: of the discriminator; latent:
    its distribution. batch, microbatch, ema, warmup, schedule: in images; microbatch is how many pass through
    the networks at once. ema is the half-life of the generator's moving average, at most a twentieth of the
    images seen; over the first `warmup` images the learning rate rises from 0; learning_rate, gamma and ema
    may change over the first `schedule` images. betas: of Adam. augment: the probability of each
    augmentation, or "adaptive". mirror: whether half of the real images are shown left to right.
    deterministic: whether a GPU may only add up in one order.

    Raises ValidationError for values that are unknown, or make no sense together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Annotated[str, _one_of(DEFAULTS)] = "r3gan"
    preset: Annotated[str, _one_of(PRESETS)] = "tiny"
    resolution: Annotated[int, _one_of(RESOLUTIONS)] = 32
    loss: Annotated[str, _one_of(LOSSES)]
    penalty: Annotated[str, _one_of(PENALTY_GAMMA)]
    gamma: Schedule
    normalization: Annotated[str, _one_of(NORMALIZATIONS)]
    latent: Annotated[str, _one_of(LATENTS)]
    augment: Annotated[float | Literal["adaptive"], BeforeValidator(_strength)] = 0.0
    mirror: bool = False
    batch: int = Field(gt=0)
    microbatch: int = Field(gt=0)
    precision: Annotated[str, _one_of(PRECISIONS)] = "float32"
    deterministic: bool = False
    learning_rate: Annotated[Schedule, AfterValidator(_positive)]
    betas: tuple[float, float]
    ema: Annotated[Schedule, AfterValidator(_positive)]
    warmup: int = Field(ge=0)
    schedule: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: dict[str, Any]) -> dict[str, Any]:
        filled = DEFAULTS.get(given.get("architecture", "r3gan"), DEFAULTS["r3gan"]) | given
        if "penalty" not in given:
            filled["penalty"] = LOSS_PENALTY.get(filled["loss"], filled["penalty"])
        if (
            filled["penalty"] != "none"
            and "normalization" not in given
            and filled["normalization"] == "batch"
        ):
            filled["normalization"] = "none"  # together they are refused
        return {"gamma": PENALTY_GAMMA.get(filled["penalty"], 0.0), "microbatch": filled["batch"]} | filled

    @model_validator(mode="after")
    def _refuse_nonsense(self) -> Self:
        weighs = self.gamma.start + self.gamma.end > 0
        penalized = self.penalty != "none"
        batch_norm = self.normalization == "batch"
        bounded = penalized or self.normalization == "spectral"
        if batch_norm and self.architecture == "r3gan":
            raise ValueError(
                "r3gan's networks hold no batch normalisation (Huang et al. 2024, section 4); choose the "
                "normalization none or spectral"
            )
        if batch_norm and penalized:
            raise ValueError(
                f"the penalty {self.penalty} is on the gradient of each image by itself, but under batch "
                "normalisation every image has a part in every logit (Gulrajani et al. 2017, section 4); "
                "choose the normalization none or spectral, or the penalty none"
            )
        if self.loss == "wasserstein" and not bounded:
            raise ValueError(
                "the wasserstein loss has no bound unless the discriminator's gradients have one (Gulrajani "
                "et al. 2017, section 2); choose a penalty, or the normalization spectral"
            )
        if weighs and not penalized:
            raise ValueError(f"gamma {self.gamma} weighs a penalty, but the penalty is none; choose one")
        if penalized and not weighs:
            raise ValueError(f"gamma 0 takes the penalty {self.penalty} away; choose the penalty none")
        if self.batch % self.microbatch:
            raise ValueError(f"a batch of {self.batch} is no multiple of microbatches of {self.microbatch}")
        if self.architecture == "dcgan" and self.microbatch == 1:
            raise ValueError("batch normalisation needs two images at once; choose a larger microbatch")
        if self.changing and not self.schedule:
            raise ValueError("values that change, A..B, need --schedule: the images over which they do")
        if self.schedule and not self.changing:
            raise ValueError(
                "--schedule is for values that change; give --learning-rate, --gamma or --ema as A..B"
            )
        return self

    @property
    def changing(self) -> bool:
        """Whether a value changes over the schedule."""
        return not all(value.constant for value in (self.learning_rate, self.gamma, self.ema))

    @property
    def loss_in_words(self) -> str:
        """The loss with all that belongs to it, for contracts and cards."""
        parts = [self.loss]
        if self.penalty != "none":
            parts.append(f"{self.penalty} with gamma {self.gamma}")
        if self.normalization != "none":
            parts.append(f"{self.normalization} normalization of the discriminator")
        if self.augment:
            parts.append(f"augmentation {self.augment}")
        return ", ".join(parts)
