"""What holds for every test."""

import os

from hypothesis import settings

from service.cores import usable_cores

# How long an example takes says nothing about whether it is right.
settings.register_profile("ganserve", deadline=None)
settings.load_profile("ganserve")

# Before torch is loaded, and for all that tests start: on shared cores, threads wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for some always waits for a server or a training that it has started."""
    return usable_cores() + 1
