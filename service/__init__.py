"""Everything that runs when a request comes in; `service.service:Ganserve` is what BentoML serves."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# BentoML asks for metrics in files, which several workers can share and two services would wipe. There is one
# worker, and its numbers stay in its memory.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
