"""From a folder of images to an exported generator."""

import os

# ONNX Runtime and datasets report their use to their makers, unless told not to before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
