"""Everything that runs when a request comes in; `service.service:Ganserve` is what BentoML serves."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Processes that serve together keep their metrics in a folder that this names, a process alone in its memory.
# BentoML would have all services of a user keep them in one folder, and empty it at each start.
SHARED_FOLDER = "GANSERVE_SHARED_FOLDER"
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
if SHARED_FOLDER in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[SHARED_FOLDER]
