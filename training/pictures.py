"""Images that are read where they are when they are asked for, for they may not fit into memory."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Pictures(Protocol):
    """Images uint8 [n, H, W, C], in memory or elsewhere."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Rows:
    """Some rows of images uint8 [n, H, W, C], read only when they are asked for."""

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.images.shape[1:]

    def __getitem__(self, places: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        return self.images[self.rows[places]]
