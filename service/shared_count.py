"""A number of each of the processes that serve together, which all of them see."""

import mmap
import os

from service import shared


class SharedCount:
    """A number called `name` of this process, beside those of the others.

    `process` is its number, which no other has meanwhile: below twice the number of those that serve.
    """

    def __init__(self, name: str, process: int = 0) -> None:
        self._process = process
        # A process id and its number for each, which it alone writes while it lives.
        numbers = memoryview(_bytes(name)).cast("I")
        self._pids, self._numbers = numbers[::2], numbers[1::2]
        self.own = 0
        self.present = True

    @property
    def own(self) -> int:
        """This process's."""
        return self._numbers[self._process]

    @own.setter
    def own(self, number: int) -> None:
        self._numbers[self._process] = number

    @property
    def present(self) -> bool:
        """Whether this process is one of the `others` of the others."""
        return bool(self._pids[self._process])

    @present.setter
    def present(self, present: bool) -> None:
        self._pids[self._process] = os.getpid() if present else 0

    @property
    def others(self) -> list[int]:
        """Those of the other processes that are present, and live."""
        slots = enumerate(zip(self._pids, self._numbers, strict=True))
        return [
            number for slot, (pid, number) in slots if slot != self._process and pid and shared.lives(pid)
        ]

    @property
    def total(self) -> int:
        """That of all."""
        return sum(self._numbers)

    def forget_the_dead(self) -> None:
        """Set to 0 what processes left that have died."""
        for slot, (pid, number) in enumerate(zip(self._pids, self._numbers, strict=True)):
            if number and not shared.lives(pid):
                self._numbers[slot] = 0


def _bytes(name: str) -> bytearray | mmap.mmap:
    file = shared.counts(name)
    if file is None:
        return bytearray(shared.COUNT_BYTES)
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), 0)
