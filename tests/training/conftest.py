from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.digits import write_digits
from tests.training.runs import PLAN
from training.data import ImageData, load
from training.hyperparameters import Hyperparameters
from training.run import RunRecord


@pytest.fixture(scope="package", autouse=True)
def on_the_cpu() -> Iterator[None]:
    """Also where there is a GPU, whose bits may be others each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own is the same in each run, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"), per_class=40)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits_data(digits_folder: Path, cache: Path) -> ImageData:
    return load(str(digits_folder), resolution=16, cache=cache)


@pytest.fixture(scope="session")
def new(digits_folder: Path, cache: Path) -> tuple[str, ...]:
    """What begins a short run."""
    return (str(digits_folder), *PLAN, "--cache", str(cache))


@pytest.fixture(scope="session")
def again(cache: Path) -> tuple[str, ...]:
    """What continues one."""
    return ("--resume", "--cache", str(cache))


@pytest.fixture(scope="session")
def record(digits_folder: Path, digits_data: ImageData) -> RunRecord:
    """A run small enough for a test."""
    settings = Hyperparameters.model_validate({"resolution": 16, "batch": 8, "warmup": 16, "seed": 3})
    return RunRecord.of(settings, str(digits_folder), digits_data)
