"""`python -m training` is the command line `ganserve`; torchrun starts it as `torchrun ... -m training`."""

from training.cli import app

app()
