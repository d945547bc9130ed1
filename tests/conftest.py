"""What holds for every test."""

import os

import pytest
from hypothesis import settings

from service.cores import usable_cores

# How long an example takes says nothing about whether it is right.
settings.register_profile("ganserve", deadline=None)
settings.load_profile("ganserve")

# Before torch is loaded, and for all that tests start: on shared cores, threads wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores, for one always waits for a server or a training that it has started."""
    # xdist's own answer
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else usable_cores() + 1
