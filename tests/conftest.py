"""What holds for every test."""

import os

from hypothesis import settings

# How long an example takes says nothing about whether it is right.
settings.register_profile("ganserve", deadline=None)
settings.load_profile("ganserve")

# Before torch is loaded, and for all that tests start: on shared cores, threads wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
