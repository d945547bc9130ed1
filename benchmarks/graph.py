"""Images per second of the exported graph beside a plain `torch.onnx.export` of the same weights.

    python -m benchmarks.graph

Both run under the same ONNX Runtime with the same threads, in turns, so that other work on the machine slows
both. Ratios are medians over the turns; on a busy machine that of processor time is the one to trust. Parity
is that of the exported graph with PyTorch.
"""

import json
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from models.contract import MINIMUM_OPSET, Contract, ImageShape, Latent, Training
from training.export import to_onnx
from training.networks import to_pixels
from training.parity import compare
from training.r3gan import PRESETS, Generator

CLASSES = tuple("0123456789")
SECONDS, TURNS = 8.0, 5  # a case takes so long, and at least so many turns
SAMPLE = 0.05  # seconds of one graph in one turn, at least
PROFILED = 12  # runs


@dataclass(frozen=True)
class Case:
    preset: str
    resolution: int
    channels: int
    batches: tuple[int, ...]
    threads: int = 1


CASES = (
    Case("tiny", 32, 1, (1, 16, 64)),
    Case("tiny", 32, 3, (1, 16, 64)),
    Case("small", 32, 3, (1, 16, 64)),
    Case("base", 32, 3, (1, 16, 64)),
    Case("tiny", 32, 1, (1, 64), threads=2),
    Case("small", 32, 3, (1, 64), threads=2),
    Case("base", 32, 3, (1, 64), threads=2),
    Case("tiny", 64, 3, (1, 64)),
    Case("small", 64, 3, (1, 64)),
    Case("base", 64, 3, (1, 16)),
    Case("tiny", 128, 3, (1, 64)),
)


class Plain(nn.Module):
    """A generator with pixels at its end, written without a second thought."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        return to_pixels(self.generator(latent, label))


def plain_export(generator: Generator) -> onnx.ModelProto:
    """What the exporter makes of it, with its own optimizer on."""
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own code
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            Plain(generator).eval(),
            (torch.zeros(2, generator.latent_dim), torch.zeros(2, generator.classes)),
            input_names=["latent", "label"],
            output_names=["image"],
            opset_version=MINIMUM_OPSET,
            dynamo=True,
            dynamic_shapes={"latent": {0: batch}, "label": {0: batch}},
            verbose=False,
        )
    assert program is not None  # noqa: S101 - only the old exporter gives None
    return program.model_proto


def untrained(case: Case) -> Generator:
    """A generator with every weight other than zero."""
    torch.manual_seed(0)
    generator = Generator(PRESETS[case.preset], case.resolution, case.channels, len(CLASSES))
    with torch.no_grad():
        for weight in generator.parameters():
            if not weight.any():
                weight.normal_(std=0.5 / weight[0].numel() ** 0.5 if weight.dim() > 1 else 0.1)
    return generator.requires_grad_(requires_grad=False)


def contract(case: Case) -> Contract:
    return Contract(
        name="benchmark",
        latent=Latent(dim=PRESETS[case.preset].latent_dim, distribution="normal"),
        classes=CLASSES,
        image=ImageShape(height=case.resolution, width=case.resolution, channels=case.channels),
        training=Training(
            dataset="none",
            images_seen=0,
            architecture=case.preset,
            loss="none",
            seed=0,
            source_commit="",
        ),
        license="Apache-2.0",
        created=datetime.now(UTC),
    )


def open_session(
    model: onnx.ModelProto, threads: int, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """With the service's settings of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def runner(session: onnxruntime.InferenceSession, batch: int) -> Callable[[], None]:
    draws = np.random.default_rng(0)
    latent = draws.standard_normal((batch, session.get_inputs()[0].shape[1]), np.float32)
    label = np.eye(len(CLASSES), dtype=np.float32)[draws.integers(len(CLASSES), size=batch)]
    feeds = {"latent": latent, "label": label}
    return lambda: session.run(["image"], feeds)


def measure(runners: list[Callable[[], None]]) -> list[tuple[list[float], list[float]]]:
    """Seconds, and seconds of processor time, that a run of each took in each turn."""
    taken: list[tuple[list[float], list[float]]] = [([], []) for _ in runners]
    for run in runners:
        run()
    start = time.perf_counter()
    runners[0]()
    repeats = max(1, round(SAMPLE / (time.perf_counter() - start)))
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(taken[0][0]) < TURNS:
        for run, (seconds, processor) in zip(runners, taken, strict=True):
            before = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                run()
            seconds.append((time.perf_counter() - before[0]) / repeats)
            processor.append((time.process_time() - before[1]) / repeats)
    return taken


def kind(event: dict[str, Any]) -> str:
    """What a node that ONNX Runtime profiled is there for."""
    operator, inputs = event["op_name"], [next(iter(value.values())) for value in event["input_type_shape"]]
    if operator == "Conv":
        channels, (_, group_channels, height, _) = inputs[0][1], inputs[1]
        if height == 1:
            return "1x1 convolutions"
        return "grouped 3x3 convolutions" if group_channels < channels else "pixels"
    others = {
        "Upsample": "upsampling",
        "Gemm": "dense layers",
        "LeakyRelu": "activations and sums apart, layout",
        "Add": "activations and sums apart, layout",
        "ReorderInput": "activations and sums apart, layout",
        "ReorderOutput": "activations and sums apart, layout",
    }
    return others.get(operator, "pixels")


def microseconds(model: onnx.ModelProto, batch: int) -> dict[str, float]:
    """Those of one image by kind of node, each node's the lower quartile of its runs."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, 1, Path(folder) / "profile")
        run = runner(session, batch)
        for _ in range(PROFILED):
            run()
        events = json.loads(Path(session.end_profiling()).read_text())
    taken: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            taken.setdefault(event["name"], []).append(event["dur"] / batch)
            kinds[event["name"]] = kind(event["args"])
    total: dict[str, float] = {}
    for name, times in taken.items():
        total[kinds[name]] = total.get(kinds[name], 0) + statistics.quantiles(times, n=4)[0]
    return total


def ratio(plain: list[float], exported: list[float]) -> float:
    return statistics.median(slow / fast for slow, fast in zip(plain, exported, strict=True))


def main() -> None:
    torch.set_num_threads(1)
    versions = f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
    print(f"{versions}, Python {platform.python_version()}; plain and exported in images/s\n")
    print("| preset | image | threads | batch | plain | exported | ratio | of processor time |")
    print("|---|---|---|---|---|---|---|---|")
    parities, profiles = [], []
    for case in CASES:
        generator = untrained(case)
        plain, exported = plain_export(generator), to_onnx(generator, contract(case))
        image = f"{case.resolution}x{case.resolution} {'grey' if case.channels == 1 else 'RGB'}"
        for batch in case.batches:
            sessions = [open_session(model, case.threads) for model in (plain, exported)]
            one, other = measure([runner(session, batch) for session in sessions])
            speeds = (f"{batch / statistics.median(seconds):.0f}" for seconds, _ in (one, other))
            ratios = (f"{ratio(a, b):.2f}" for a, b in zip(one, other, strict=True))
            cells = (case.preset, image, case.threads, batch, *speeds, *ratios)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        if case.threads == 1:
            sizes = " and ".join(
                f"{len(model.SerializeToString()) / 1e6:.2f} MB" for model in (plain, exported)
            )
            parity = compare(generator, exported, contract(case), 16 if case.preset == "base" else 64)
            parities.append(f"| {case.preset} | {image} | {parity} | {sizes} |")
            spent = [microseconds(model, 8) for model in (plain, exported)]
            for what in dict.fromkeys(what for of_one in spent for what in of_one):
                row = (case.preset, image, what, *(f"{of_one.get(what, 0):.0f}" for of_one in spent))
                profiles.append(f"| {' | '.join(row)} |")
    print("\nMicroseconds an image, in batches of 8\n\n| preset | image | what for | plain | exported |")
    print("|---|---|---|---|---|")
    print("\n".join(profiles))
    print("\n| preset | image | parity | plain and exported file |\n|---|---|---|---|")
    print("\n".join(parities))


if __name__ == "__main__":
    main()
