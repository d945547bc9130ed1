"""How a run and its device are prepared; what a GPU would refuse is looked up in the list of torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from training.data import ImageData
from training.game import Game
from training.hyperparameters import DEFAULTS, Hyperparameters
from training.losses import LOSSES
from training.run import RunError, RunRecord
from training.start import choose_device, deterministic_kernels

# What torch 2.13's documentation of use_deterministic_algorithms lists as raising errors on CUDA, as kernels.
REFUSED = {
    "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward",
    "max_unpool2d", "max_unpool3d", "upsample_linear1d_backward", "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward", "upsample_trilinear3d_backward", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss_forward", "nll_loss2d_forward",
    "_ctc_loss_backward", "_embedding_bag_backward", "put_", "histc", "bincount", "median",
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "cumsum", "scatter_reduce",
}  # fmt: skip


def gpus(patch: pytest.MonkeyPatch, number: int) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: number > 0)
    patch.setattr(torch.cuda, "device_count", lambda: number)


def second_of_two(patch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        patch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("auto", 0, "cpu"), ("cpu", 2, "cpu"), ("auto", 2, "cuda:0"), ("cuda", 2, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)  # fmt: skip
def test_the_device_of_one_process(
    name: str, number: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, number)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_has_a_gpu_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    second_of_two(monkeypatch)
    gpus(monkeypatch, 2)
    assert choose_device(name) == torch.device("cuda", 1)
    gpus(monkeypatch, 1)
    with pytest.raises(RunError, match=f"--device {name}: torch finds 1 CUDA devices.* process 1 .* none"):
        choose_device(name)


def test_one_gpu_is_not_given_to_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    second_of_two(monkeypatch)
    gpus(monkeypatch, 2)
    with pytest.raises(
        RunError, match="--device cuda:0 would be that of all 2 processes; give --device cuda"
    ):
        choose_device("cuda:0")


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of all kernels that are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def kernels(work: Callable[[], object]) -> set[str]:
    called = Kernels()
    with called:
        work()
    return called.names


@pytest.mark.parametrize("architecture", DEFAULTS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_bilinear_resampling_alone_needs_another_way_to_be_deterministic(
    architecture: str, loss: str, normalization: str, record: RunRecord, digits_data: ImageData
) -> None:
    chosen = {"architecture": architecture, "loss": loss, "normalization": normalization}
    settings = {"resolution": 16, "batch": 8, "augment": 0.5, "mirror": True} | chosen
    game = Game(
        record.model_copy(update={"hyperparameters": Hyperparameters.model_validate(settings)}),
        torch.device("cpu"),
    )
    called = kernels(lambda: game.step(digits_data))
    assert "convolution_backward" in called
    expected = {"upsample_bilinear2d_backward"} if architecture == "r3gan" else set()
    assert called & REFUSED == expected


def test_deterministic_kernels_take_that_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    layer, images = nn.Upsample(scale_factor=2, mode="bilinear"), torch.zeros(1, 1, 4, 4, device="meta")
    images.requires_grad_()
    assert "upsample_bilinear2d_backward" in kernels(lambda: layer(images).sum().backward())
    with deterministic_kernels(on=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not kernels(lambda: layer(images).sum().backward()) & REFUSED
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_kernels(on=False):
        assert not torch.are_deterministic_algorithms_enabled()
