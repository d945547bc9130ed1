"""`ganserve` where torchrun starts it, but the second process is lost after 40 images."""

import os
import signal

from tests.training.runs import signal_itself
from training.cli import app

if os.environ["RANK"] == "1":
    signal_itself(40, signal.SIGKILL)
app()
