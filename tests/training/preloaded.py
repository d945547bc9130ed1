"""What each process that trains would import, or set up, for itself."""

import matplotlib.backends.backend_agg
import pytest
import torch._dynamo  # torch.optim imports it with the first optimizer
from PIL import Image

import training.cli

__all__ = ["matplotlib", "pytest", "torch", "training"]

Image.init()  # all plugins, for the extensions that they read
