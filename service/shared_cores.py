"""The cores that batches are computed on: several processes share them, and each knows how many are free."""

from service import shared
from service.shared_count import SharedCount


class SharedCores:
    """`count` cores, and how many of them compute, for this process, of that number, and for all."""

    def __init__(self, count: int, process: int = 0) -> None:
        self.count = count
        self._batches = SharedCount(shared.COMPUTING, process)

    @property
    def computing(self) -> int:
        """How many batches this process computes, on a core each."""
        return self._batches.own

    @computing.setter
    def computing(self, batches: int) -> None:
        self._batches.own = batches

    @property
    def free(self) -> int:
        """How many cores no process computes on; at least 1 for a process that computes nothing."""
        if self._batches.total > self.computing:
            self._batches.forget_the_dead()
        return max(self.count - self._batches.total, 0 if self.computing else 1)
