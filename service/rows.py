"""What a generator makes images of: rows of latents, labels and truncation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)
Images = npt.NDArray[np.uint8]
# The inputs of a generator, by name.
Feeds = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Rows:
    """One row an image: float32 [n, dim], class numbers int64 [n], float32 [n]; None where it takes none."""

    latents: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None = None
    truncation: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(
            self.latents[part],
            None if self.labels is None else self.labels[part],
            None if self.truncation is None else self.truncation[part],
        )

    def in_parts(self, most: int) -> list["Rows"]:
        """The rows in their order, at most so many a part."""
        return [self[start : start + most] for start in range(0, len(self), most)]


def concatenate(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, which are for the same generator, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.latents for part in parts]),
        _concatenate_optional([part.labels for part in parts]),
        _concatenate_optional([part.truncation for part in parts]),
    )


def _concatenate_optional(
    parts: Sequence[npt.NDArray[Number] | None],
) -> npt.NDArray[Number] | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
