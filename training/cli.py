"""The command line `ganserve`: train, export, evaluate."""

import signal
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from click.core import ParameterSource
from pydantic import ValidationError

from training import checkpoint, run
from training.data import DataError, ImageData, load
from training.loop import Game, train as train_loop
from training.networks import PRESETS, RESOLUTIONS
from training.run import DataRecord, Hyperparameters, RunError, RunRecord

app = typer.Typer(
    help="Train a generator on a folder of images, export it, and measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
DEFAULTS = Hyperparameters()
CACHE = Path("~/.cache/ganserve")
Cache = Annotated[Path, typer.Option(help="Where decoded images are kept between runs.")]
Models = Annotated[Path, typer.Option(help="The shelf of exported generators.")]


def _fail(message: object) -> typer.Exit:
    typer.echo(f"ganserve: {message}", err=True)
    return typer.Exit(1)


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of images (its subfolders are the classes), a zip of one, a parquet file or folder, "
            "or the id of a data set on the Hugging Face hub."
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--run", help="The run's folder.")] = Path("runs/latest"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run exactly.")] = False,
    preset: Annotated[str, typer.Option(help=f"Shape of the networks: {', '.join(PRESETS)}.")] = DEFAULTS.preset,
    resolution: Annotated[
        int, typer.Option(help=f"Side of the images in pixels: {', '.join(map(str, RESOLUTIONS))}.")
    ] = DEFAULTS.resolution,
    images: Annotated[int, typer.Option(min=1, help="Stop when this many images were seen.")] = 500_000,
    snapshot: Annotated[
        int, typer.Option(min=1, help="Images between two checkpoints, each with a sample grid.")
    ] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Real images a step, and as many generated ones.")] = DEFAULTS.batch,
    learning_rate: Annotated[float, typer.Option(help="Of Adam, for both networks.")] = DEFAULTS.learning_rate,
    gamma: Annotated[float, typer.Option(help="Weight of the R1 and R2 penalties.")] = DEFAULTS.gamma,
    ema: Annotated[
        int, typer.Option(help="Half-life, in images, of the generator's moving average.")
    ] = DEFAULTS.ema,
    warmup: Annotated[
        int, typer.Option(help="Images over which the learning rate rises from 0.")
    ] = DEFAULTS.warmup,
    seed: Annotated[int, typer.Option(help="Of weights, data order and latents.")] = DEFAULTS.seed,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; auto takes cuda where there is one.")] = "auto",
    cache: Cache = CACHE,
) -> None:
    """Train a generator with adversarial training.

    Ctrl-C and SIGTERM save a checkpoint and leave; --resume then goes on as if nothing had happened.
    """
    given = {name for name in Hyperparameters.model_fields if _explicit(context, name)}
    try:
        target = _device(device)
        if resume:
            record = run.read(folder)
            _refuse_changes(record, context.params, given)
            source = data or record.data.source
        elif data is None:
            raise RunError("DATA is missing: name a folder of images, or give --resume to continue a run")
        else:
            source = data
            settings = Hyperparameters(**{name: context.params[name] for name in Hyperparameters.model_fields})
            record = None
        hyperparameters = record.hyperparameters if record else settings
        loaded = _load(source, hyperparameters.resolution, record.data.channels if record else None, "train", cache)
        if record is None:
            record = RunRecord(
                hyperparameters=hyperparameters,
                data=DataRecord(
                    source=str(Path(source).resolve()) if Path(source).exists() else source,
                    name=loaded.name,
                    fingerprint=loaded.fingerprint,
                    channels=loaded.images.shape[3],
                    classes=loaded.classes,
                ),
                source_commit=run.source_commit(),
            )
            run.begin(folder, record)
        elif record.data.fingerprint != loaded.fingerprint:
            raise RunError(
                f"{source} differs from the images that the run in {folder} began with; give the same images back, or start another run"
            )
        game = Game(hyperparameters, record.data.channels, len(record.data.classes), target)
        if resume:
            checkpoint.load(folder / run.CHECKPOINT_FILE, game.parts())
    except ValidationError as error:
        problem = error.errors()[0]
        raise _fail(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}, got {problem['input']!r}") from None
    except (DataError, RunError, checkpoint.CheckpointError) as error:
        raise _fail(error) from None
    game.progress.hardware = run.hardware(target, torch.get_num_threads())
    received = train_loop(game, loaded, folder, images, snapshot)
    typer.echo(f"{game.progress.images_seen:,} images seen; the run is in {folder}")
    if received is not None:
        typer.echo(f"stopped by {received.name}; continue with: ganserve train --run {folder} --resume")
        raise typer.Exit(128 + received)


def _explicit(context: typer.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _refuse_changes(record: RunRecord, params: dict[str, Any], given: set[str]) -> None:
    recorded = record.hyperparameters.model_dump()
    changed = [
        f"--{name.replace('_', '-')} {params[name]} (the run has {recorded[name]})"
        for name in sorted(given)
        if params[name] != recorded[name]
    ]
    if changed:
        raise RunError(f"a run resumes under its own hyperparameters only; leave out {', '.join(changed)}")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RunError(f"--device must be auto, cpu, cuda or cuda:N, got {name}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RunError(f"--device {name}: torch finds no CUDA device here; leave it out to train on the CPU")
    return device


def _load(source: str, resolution: int, channels: int | None, split: str, cache: Path) -> ImageData:
    data = load(source, resolution=resolution, channels=channels, split=split, cache=cache.expanduser())
    if data.unreadable:
        typer.echo(f"left out {len(data.unreadable)} unreadable images:", err=True)
        for line in data.unreadable:
            typer.echo(f"  {line}", err=True)
    return data
