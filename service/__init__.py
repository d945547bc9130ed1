"""Everything that runs when a request comes in; `service.service:Ganserve` is what BentoML serves."""

import os

# ONNX Runtime reports its use to its makers, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
