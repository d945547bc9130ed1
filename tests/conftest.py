"""What holds for every test."""

import os

from hypothesis import settings

# How long an example takes says nothing about whether it is right.
settings.register_profile("ganserve", deadline=None)
settings.load_profile("ganserve")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: tests of servers mostly wait."""
    return (os.cpu_count() or 1) + 1
