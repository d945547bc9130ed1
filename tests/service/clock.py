"""A clock that tests set."""


class Clock:
    """Stands in for the module `time` where the admission looks at it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now
