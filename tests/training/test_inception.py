"""Through torch-fidelity's own network, with random weights in its format: the published are not at hand."""

import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training import inception
from training.distances import frechet, kernel, neighbourhoods
from training.inception import InceptionUnavailable, measure


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """With the layers' scale kept, so that features differ from image to image."""
    source = inception.import_fidelity().feature_extractor_inceptionv3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        made: torch.nn.Module = source.FeatureExtractorInceptionV3("random", ["2048"])
    torch.manual_seed(0)
    for layer in made.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return made


@pytest.fixture(scope="module")
def weights(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def pictures(n: int, channels: int, seed: int, brightness: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, brightness, (n, 4, 4, channels), dtype=np.uint8)


def features(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    planes = torch.tensor(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    (found,) = network(planes)
    return np.asarray(found)


def test_its_distances_are_those_of_its_features(
    network: torch.nn.Module, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, generated = pictures(5, 1, 1, 256), pictures(10, 1, 2, 128)
    found = measure(real, generated, weights)
    ours = features(network, real), features(network, generated)
    assert found.fid == pytest.approx(frechet(*ours), rel=1e-3)
    # the mean over subsets has the expectation of the whole
    assert found.kid == pytest.approx(kernel(*ours), abs=found.kid_deviation)
    assert found.kid_deviation > 0
    close = neighbourhoods(*ours, k=3)
    assert (found.precision, found.recall) == pytest.approx((close.precision, close.recall))
    assert close.precision != close.recall  # else they could stand for each other
    assert found.inception_score >= 1
    assert (found.real_images, found.generated_images) == (5, 10)
    assert "Inception" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"weights", b".", torch.zeros(2), [torch.zeros(2)]])
def test_files_without_weights_are_told(content: object, tmp_path: Path) -> None:
    images, path = pictures(5, 3, 1, 256), tmp_path / "none.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InceptionUnavailable, match=r"none\.pth holds no weights"):
        measure(images, images, path)


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    images, other = pictures(5, 3, 1, 256), tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(InceptionUnavailable, match=r"other\.pth cannot be used: .*state_dict"):
        measure(images, images, other)


def test_without_a_gpu_it_says_how_to_have_it() -> None:
    images = pictures(5, 3, 1, 256)
    with pytest.raises(
        InceptionUnavailable, match=r"hours without a GPU.*download https.*--inception-weights"
    ):
        measure(images, images, None)


def test_without_a_network_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    images = pictures(5, 3, 1, 256)
    with pytest.raises(
        InceptionUnavailable, match=r"cannot be downloaded from https.*Name or service not known"
    ):
        measure(images, images, None)


def test_without_torch_fidelity_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    images = pictures(5, 3, 1, 256)
    with pytest.raises(
        InceptionUnavailable, match=f"{re.escape(sys.executable)} deploy/install.py inception"
    ):
        measure(images, images, None)
