"""Runs a generator in buffers that are made beforehand, one set for each batch size."""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from models.contract import Contract
from service.rows import Feeds, Images


@dataclass(frozen=True)
class _Slot:
    inputs: dict[str, onnxruntime.OrtValue]
    binding: onnxruntime.IOBinding
    options: onnxruntime.RunOptions


class BoundSession:
    """A generator with fixed inputs and outputs on a device, of the type "cuda" or "cpu", for each bucket.

    CUDA graphs replay on the addresses that they captured. ONNX Runtime captures the graph of a bucket in its
    first run, and keeps it for the thread of that run.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        contract: Contract,
        buckets: tuple[int, ...],
        device_type: str,
    ) -> None:
        self.buckets = buckets
        self._session = session
        self._slots = {rows: self._slot(contract, rows, device_type) for rows in buckets}

    def run(self, feeds: Feeds) -> Images:
        slot = self._slots[len(feeds["latent"])]
        for name, values in feeds.items():
            slot.inputs[name].update_inplace(values)
        self._session.run_with_iobinding(slot.binding, slot.options)
        slot.binding.synchronize_outputs()
        # A copy, so that the next run does not overwrite it.
        images: Images = slot.binding.copy_outputs_to_cpu()[0]
        return images

    def whole(self) -> None:
        """This is the whole device."""

    def _slot(self, contract: Contract, rows: int, device_type: str) -> _Slot:
        def buffer(shape: tuple[int, ...], kind: type[np.generic]) -> onnxruntime.OrtValue:
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, device_type, 0)

        shape = contract.image
        inputs = {name: buffer((rows, *row), np.float32) for name, row in contract.inputs.items()}
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(
            "image", buffer((rows, shape.height, shape.width, shape.channels), np.uint8)
        )
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(rows))
        return _Slot(inputs, binding, options)
