"""The generators that are served: the shipped one, and one of 64x64 pixels in colour with random weights.

    python -m benchmarks.serving.generators <folder>

puts each on a shelf of its own. It needs torch, and so is a process of its own.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import models
from models.contract import Contract, ImageShape, Latent, Training
from models.shelf import Generator, Shelf

NAMES = ("fashion-mnist", "small-64")


def shelved(folder: Path, name: str) -> Generator:
    """The generator that `main` has put there."""
    (generator,) = Shelf(folder / name).list()
    return generator


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shipped, random = (folder / name for name in NAMES)
    shutil.copytree(Path(models.__file__).parent / NAMES[0], shipped / NAMES[0])
    _put_random(NAMES[1], Shelf(random))


def _put_random(name: str, shelf: Shelf) -> None:
    import torch  # noqa: PLC0415 - so that what only looks for the generators needs none

    from training.export import to_onnx  # noqa: PLC0415
    from training.r3gan import PRESETS  # noqa: PLC0415
    from training.r3gan import Generator as Network  # noqa: PLC0415

    torch.manual_seed(0)
    classes = tuple("0123456789")
    network = Network(PRESETS["small"], 64, 3, len(classes))
    contract = Contract(
        name=name,
        latent=Latent(dim=network.latent_dim, distribution="normal"),
        classes=classes,
        image=ImageShape(height=64, width=64, channels=3),
        training=Training(
            dataset="none",
            images_seen=0,
            architecture="r3gan small",
            loss="none",
            seed=0,
            source_commit="none",
        ),
        license="Apache-2.0",
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    shelf.place(to_onnx(network, contract))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
