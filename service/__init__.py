"""Everything that runs when a request comes in; `service.service:Ganserve` is what BentoML serves."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Where processes that serve together keep their metrics. BentoML gives all services of a user one folder, and
# empties it at each start; a process that it does not start keeps its metrics in memory.
METRICS_FOLDER = "GANSERVE_METRICS_FOLDER"
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
if METRICS_FOLDER in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[METRICS_FOLDER]
