"""What holds for every test."""

from hypothesis import settings

# How long an example takes says nothing about whether it is right.
settings.register_profile("ganserve", deadline=None)
settings.load_profile("ganserve")
