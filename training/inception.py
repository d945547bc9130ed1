"""FID, KID, Inception score, precision and recall as others publish them, measured by torch-fidelity."""

import importlib
import sys
import urllib.error
import urllib.request
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch.utils.data import Dataset

DOWNLOAD_SECONDS = 20
KERNEL_SUBSET = 1000  # images, as Binkowski et al. 2018 take; of few images half, so that subsets differ


class InceptionUnavailable(Exception):
    """Why there are no Inception measures."""


class InceptionScores(BaseModel):
    """Of the generated images against the training images, as published results have it.

    fid: Heusel et al. 2017; kid and kid_deviation: Binkowski et al. 2018, over 100 subsets; inception_score
    and inception_score_deviation: Salimans et al. 2016, over 10 parts; precision and recall: Kynkaanniemi et
    al. 2019, with 3 neighbours, in the same features.
    """

    fid: float
    kid: float
    kid_deviation: float
    inception_score: float
    inception_score_deviation: float
    precision: float
    recall: float
    real_images: int
    generated_images: int


def measure(real: NDArray[np.uint8], generated: NDArray[np.uint8], weights: Path | None) -> InceptionScores:
    """Of images uint8 [n, H, W, 1 or 3]. Raises InceptionUnavailable.

    weights: a file of torch-fidelity's Inception network; without it, torch-fidelity's own download.
    """
    fidelity = import_fidelity()
    url = fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3
    try:
        if weights is not None:
            _refuse_unfit(weights)
        elif not torch.cuda.is_available():
            raise InceptionUnavailable(
                f"Inception takes hours without a GPU; to have it all the same, download {url} and name the "
                "file with --inception-weights"
            )
        elif not (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).exists():
            with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS):  # noqa: S310  # torch waits for ever
                pass
        measured = fidelity.calculate_metrics(
            input1=_Pictures(generated),
            input2=_Pictures(real),
            isc=True,
            fid=True,
            kid=True,
            prc=True,
            kid_subset_size=min(KERNEL_SUBSET, len(real) // 2, len(generated) // 2),
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=weights and str(weights),
            cuda=torch.cuda.is_available(),
            cache=False,
            save_cpu_ram=True,
        )
    except urllib.error.URLError as error:
        raise InceptionUnavailable(
            f"the weights of Inception cannot be downloaded from {url} ({error.reason}); name a file of them "
            "with --inception-weights"
        ) from None
    except (RuntimeError, OSError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InceptionUnavailable(f"{weights or 'Inception'} cannot be used: {reason}") from None
    return InceptionScores(
        fid=measured["frechet_inception_distance"],
        kid=measured["kernel_inception_distance_mean"],
        kid_deviation=measured["kernel_inception_distance_std"],
        inception_score=measured["inception_score_mean"],
        inception_score_deviation=measured["inception_score_std"],
        precision=measured["precision"],
        recall=measured["recall"],
        real_images=len(real),
        generated_images=len(generated),
    )


def _refuse_unfit(weights: Path) -> None:
    """Torch-fidelity would run what a file of weights tells it to."""
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, IndexError, TypeError, ValueError):  # what torch makes of other files
        state = None
    if not isinstance(state, dict):
        raise InceptionUnavailable(f"{weights} holds no weights")


class _Pictures(Dataset[torch.Tensor]):
    """Images [n, H, W, 1 or 3] one by one, as uint8 [3, H, W]."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.tensor(self._images[number]).permute(2, 0, 1).expand(3, -1, -1)


def import_fidelity() -> Any:
    """torch-fidelity. Raises InceptionUnavailable."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        # There is none, or it was built for another torch: registries offer it for CUDA alone. What
        # torch-fidelity imports of it, data sets and other networks, is not used here.
        names = ["", ".datasets", ".transforms", ".transforms.functional"]
        absent = {f"torchvision{name}": _Absent(f"torchvision{name}") for name in names}
    else:
        absent = {}
    sys.modules.update(absent)
    try:
        return importlib.import_module("torch_fidelity")
    except ImportError as error:
        raise InceptionUnavailable(
            f"{error}; install it with: {sys.executable} deploy/install.py inception"
        ) from None
    finally:
        for name in absent:
            del sys.modules[name]


class _Absent(ModuleType):
    """Stands for a module that cannot be imported; has a class of every name."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})
