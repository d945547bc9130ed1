"""A number that may change while images are seen."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator


class Schedule(BaseModel):
    """From `start` to `end` along half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5).

    Written as one number, or as two: 5e-4..5e-5.
    """

    model_config = ConfigDict(frozen=True)

    start: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, written: Any) -> Any:
        if isinstance(written, int | float):
            return {"start": written, "end": written}
        if isinstance(written, str):
            start, dots, end = written.partition("..")
            try:
                return {"start": float(start), "end": float(end if dots else start)}
            except ValueError:
                raise ValueError("expected a number, or two such as 5e-4..5e-5") from None
        return written

    @model_serializer
    def _write(self) -> float | str:
        return self.start if self.constant else f"{self.start!r}..{self.end!r}"

    def __str__(self) -> str:
        return f"{self.start:.10g}" if self.constant else f"{self.start:.10g}..{self.end:.10g}"

    @property
    def constant(self) -> bool:
        return self.start == self.end

    def at(self, share: float) -> float:
        """The value when this share of the images was seen; from 1 on it is `end`."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * min(1, share))) / 2
