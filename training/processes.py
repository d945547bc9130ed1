"""Several processes that train one pair of networks, on one machine or many, as torchrun starts them.

A process by itself is the same with a count of 1. All make the same draws and the same updates; each computes
the gradients of its share of a batch, and `add_up` makes them whole.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed

from models.mistake import Mistake

T = TypeVar("T")
# so long may the first process decode the images, or measure, while the others wait
PATIENCE = timedelta(hours=6)


class _Waiting:
    """Where processes wait for the first, which may take long; to add up never does."""

    group: distributed.ProcessGroup | None = None


_waiting = _Waiting()


class ProcessLost(Mistake):
    """Another process of the run has ended, so that this one cannot go on."""


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Work together with the other processes of this torchrun, if there are any."""
    if started() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # numbers go by the CPU, for on a GPU they would wait for all that it has to do
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    _waiting.group = distributed.new_group(backend="gloo", timeout=PATIENCE)
    yield
    # After an error it would wait for the others, who wait for this process; its end is what tells them.
    distributed.destroy_process_group()


def started() -> int:
    """How many processes torchrun has started, together or not yet."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count() -> int:
    """How many work together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def local_rank() -> int:
    """The number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


@contextmanager
def first_of_machine_first() -> Iterator[None]:
    """The other processes of each machine enter when its first one has left.

    When it leaves with an exception they come to the same one by themselves.
    """
    first = local_rank() == 0
    if not first:
        meet()
    try:
        yield
    except Exception:
        if first:
            with suppress(ProcessLost):
                meet()
        raise
    if first:
        meet()


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one message."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with _together():
        distributed.all_reduce(flat)
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, summed in zip(tensors, torch.split(flat, sizes), strict=True):
        tensor.copy_(summed.view_as(tensor))


def total(number: float) -> float:
    """The sum of a number over all processes."""
    if count() == 1:
        return number
    tensor = torch.tensor(number, dtype=torch.float64)
    with _together():
        distributed.all_reduce(tensor)
    return float(tensor)


def of_the_first(make: Callable[[], T]) -> T:
    """What the first process makes, in all of them."""
    made = [make() if is_first() else None]
    if count() > 1:
        with _together():
            distributed.broadcast_object_list(made, src=0, group=_waiting.group)
    return cast("T", made[0])


def meet() -> None:
    """Wait for all others to come here, too, however long the first takes."""
    if count() > 1:
        with _together():
            distributed.barrier(group=_waiting.group)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ProcessLost(
            f"another process of this run has ended ({reason}); its own last line, or torchrun's, says why: "
            "mend that, and start all of them again, with --resume when the run had begun"
        ) from None
