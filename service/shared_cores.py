"""The cores that batches are computed on: several processes share them, and each knows how many are free."""

import mmap
import os

from service import shared


class SharedCores:
    """`count` cores, and how many of them compute, for this process and for all.

    `process` is its number, which no other has meanwhile: below twice the number of those that serve.
    """

    def __init__(self, count: int, process: int = 0) -> None:
        self.count = count
        self._process = process
        # A process id and a number of batches for each, which it alone writes while it lives.
        numbers = memoryview(_counts()).cast("I")
        self._pids, self._computing = numbers[::2], numbers[1::2]
        self.computing = 0
        self._pids[process] = os.getpid()

    @property
    def computing(self) -> int:
        """How many batches this process computes, on a core each."""
        return self._computing[self._process]

    @computing.setter
    def computing(self, batches: int) -> None:
        self._computing[self._process] = batches

    @property
    def free(self) -> int:
        """How many cores no process computes on; at least 1 for a process that computes nothing."""
        if sum(self._computing) >= self.count:
            self._forget_the_dead()
        return max(self.count - sum(self._computing), 0 if self.computing else 1)

    def _forget_the_dead(self) -> None:
        for slot, (pid, batches) in enumerate(zip(self._pids, self._computing, strict=True)):
            if batches and not shared.lives(pid):
                self._computing[slot] = 0


def _counts() -> bytearray | mmap.mmap:
    file = shared.counts()
    if file is None:
        return bytearray(shared.COUNT_BYTES)
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), 0)
