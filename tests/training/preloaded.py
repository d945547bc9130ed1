"""What each process that trains would import, or set up, for itself."""

import math

import matplotlib.backends.backend_agg
import pytest
import torch._dynamo  # torch.optim imports it with the first optimizer
from PIL import Image

import training.cli
from training import monitor

__all__ = ["matplotlib", "pytest", "torch", "training"]

# whether a slow machine writes them twice would decide which of its writes kills a training
monitor.CURVES_INTERVAL = math.inf

Image.init()  # all plugins, for the extensions that they read
