"""The command line `ganserve`: train, export, evaluate."""

import re
import shlex
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models.shelf import Shelf
from training import mistakes, processes, run, start
from training.data_errors import NoSplit
from training.game import Game
from training.hyperparameters import DEFAULTS, LATENTS, PENALTY_GAMMA, PRECISIONS, Hyperparameters
from training.kept import Kept
from training.lock import alone
from training.loop import conclusion, run_game
from training.losses import LOSSES
from training.networks import NORMALIZATIONS, PRESETS, RESOLUTIONS
from training.start import choose_device, deterministic_kernels, load_images
from training.stopping import Verdict
from training.subject import RealImages, Subject, refuse_unfit

app = typer.Typer(
    help="Train a generator on a folder of images, export it, and measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
HYPERPARAMETERS = Hyperparameters.model_fields
PLAN = ("images", "snapshot", "patience", "on_collapse")
CACHE = Path("~/.cache/ganserve")


def _option(name: str, words: str, known: Collection[object] = ()) -> Any:
    """An option for a hyperparameter, which says what it may be and what it is by default."""
    default = HYPERPARAMETERS[name].default
    if name in DEFAULTS["r3gan"]:
        default = ", ".join(f"{row[name]} for {architecture}" for architecture, row in DEFAULTS.items())
    elif name == "gamma":
        default = ", ".join(f"{gamma:g} for {penalty}" for penalty, gamma in PENALTY_GAMMA.items() if gamma)
    elif name == "microbatch":
        default = "this process's share of the batch"
    choices = f": {', '.join(map(str, known))}" if known else ""
    return typer.Option(help=f"{words}{choices}.", show_default=str(default))


Column = Annotated[
    str | None, typer.Option(help="The column of the images, where a table has several.", show_default=False)
]
Cache = Annotated[Path, typer.Option(help="Where decoded images are kept between runs.")]
Models = Annotated[Path, typer.Option(help="The shelf of exported generators.")]
Run = Annotated[Path, typer.Option("--run", help="The run's folder.")]


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of images (its subfolders are the classes), a zip of one, a parquet file or "
            "folder, or the id of a data set on the Hugging Face hub."
        ),
    ] = None,
    folder: Run = Path("runs/latest"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run exactly.")] = False,
    images: Annotated[
        int | None,
        typer.Option(
            min=1, help="Stop when this many were seen, or earlier: --patience.", show_default=str(run.IMAGES)
        ),
    ] = None,
    snapshot: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images between two checkpoints, each measured and with a sample grid.",
            show_default=str(run.SNAPSHOT),
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Images without a better distance after which a run stops that is at rest; 0: never.",
            show_default=str(run.PATIENCE),
        ),
    ] = None,
    on_collapse: Annotated[
        Literal["stop", "restore"] | None,
        typer.Option(
            help="At a collapse stop, or go back to the best state at half the learning rate.",
            show_default="stop",
        ),
    ] = None,
    architecture: Annotated[str | None, _option("architecture", "Of both networks", DEFAULTS)] = None,
    preset: Annotated[str | None, _option("preset", "Size of the networks", PRESETS)] = None,
    resolution: Annotated[
        int | None, _option("resolution", "Side of the images, in pixels", RESOLUTIONS)
    ] = None,
    loss: Annotated[str | None, _option("loss", "What the networks play for", LOSSES)] = None,
    penalty: Annotated[
        str | None, _option("penalty", "On the discriminator's gradients", PENALTY_GAMMA)
    ] = None,
    gamma: Annotated[str | None, _option("gamma", "Weight of the penalty")] = None,
    normalization: Annotated[
        str | None, _option("normalization", "Of the discriminator", NORMALIZATIONS)
    ] = None,
    latent: Annotated[str | None, _option("latent", "Distribution of the latents", LATENTS)] = None,
    augment: Annotated[
        str | None,
        _option("augment", "Probability of each change to what the discriminator sees, or adaptive"),
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror", help="Show half of the real images left to right.")
    ] = None,
    batch: Annotated[int | None, _option("batch", "Real images a step, and as many generated ones")] = None,
    microbatch: Annotated[
        int | None, _option("microbatch", "Images that pass through the networks at once")
    ] = None,
    precision: Annotated[str | None, _option("precision", "Of the networks", PRECISIONS)] = None,
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic", help="Compute the same bits each time on a GPU, too.")
    ] = None,
    learning_rate: Annotated[str | None, _option("learning_rate", "Of Adam, for both networks")] = None,
    ema: Annotated[
        str | None,
        _option(
            "ema", "Half-life, in images, of the generator's moving average, up to a twentieth of those seen"
        ),
    ] = None,
    warmup: Annotated[
        int | None, _option("warmup", "Images over which the learning rate rises from 0")
    ] = None,
    schedule: Annotated[
        int | None,
        _option(
            "schedule", "Images over which --learning-rate, --gamma and --ema go from A to B, given A..B"
        ),
    ] = None,
    seed: Annotated[int | None, _option("seed", "Of weights, data order and latents")] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:N; auto takes cuda where there is one.")
    ] = "auto",
    column: Column = None,
    cache: Cache = CACHE,
) -> None:
    """Train a generator with adversarial training.

    Once it trains, Ctrl-C and SIGTERM save a checkpoint and leave; --resume then goes on as if nothing had
    happened.
    """
    options = locals()
    given = {name: options[name] for name in HYPERPARAMETERS if options.get(name) is not None}
    plan = {name: options[name] for name in PLAN if options[name] is not None}
    with mistakes.in_a_line("lower --microbatch (or --batch), --preset or --resolution"):
        target = choose_device(device)
        with processes.joined(target):
            if resume:
                record, loaded = start.resume(folder, data, column, given, cache)
            else:
                record, loaded = start.begin(folder, data, column, given, cache)
            record = record.model_copy(update=plan)
            game = Game(record, target)
            with alone(folder):
                if resume:
                    start.restore(game, folder)
                if processes.is_first():
                    (run.write if resume else run.begin)(folder, record)
                with deterministic_kernels(on=record.hyperparameters.deterministic):
                    end = run_game(game, loaded, folder, record)
            if processes.is_first():
                if isinstance(end, Verdict):
                    typer.echo(conclusion(end, game))
                typer.echo(f"{game.progress.images_seen:,} images seen; the run is in {folder}")
                if isinstance(end, signal.Signals):
                    again = [_called_as(), "train", *([data] if resume and data else [])]
                    again += ["--run", str(folder), "--resume"]
                    again += ["--cache", str(cache)] if cache != CACHE else []
                    again += ["--device", device] if device != "auto" else []
                    typer.echo(f"stopped by {end.name}; continue with: {shlex.join(again)}")
    if isinstance(end, signal.Signals):
        raise typer.Exit(128 + end)


@app.command()
def export(
    folder: Run = Path("runs/latest"),
    name: Annotated[
        str | None,
        typer.Option(
            help="Name on the shelf: lower case letters, digits, '.', '_', '-'.", show_default="of the data"
        ),
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="License of the generator, as Hugging Face spells it.")
    ] = "unknown",
    models: Models = Path("models"),
) -> None:
    """Export a run's best generator to one ONNX file on the shelf, as the next version of its name.

    The file is compared with PyTorch first: should the pictures differ, nothing is written.
    """
    from training.export import export_run  # noqa: PLC0415 - a second that training should not wait for

    with mistakes.in_a_line("export it on a machine that has more"):
        name = name or _shelf_name(run.read(folder).data.name)
        exported = export_run(folder, name, license_, Shelf(models))
    state = (
        f"the best of the run (distance {exported.measured.distance:.3g})"
        if exported.measured
        else f"the newest, for there is no {run.BEST_FILE}"
    )
    typer.echo(f"exported the state after {exported.images_seen:,} images, {state}")
    for parity in exported.parities:
        typer.echo(f"ONNX Runtime against PyTorch, {parity}")
    generator = exported.generator
    typer.echo(f"{generator.reference} is at {generator.path}, SHA-256 {generator.digest}")


@app.command()
def evaluate(
    generator: Annotated[str, typer.Argument(help="NAME, or NAME:VERSION; without a version, the newest.")],
    data: Annotated[str, typer.Option(help="The images that it was trained on; as for train.")],
    test: Annotated[
        str | None,
        typer.Option(
            help="Real images that it was not trained on: their test split, or all where they have none.",
            show_default="the test split of --data",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=100, help="Generated images.", show_default="as many as there are training images"),
    ] = None,
    presentations: Annotated[
        int,
        typer.Option(
            min=1_000,
            help="Images shown to each classifier while it trains; those of mixtures see a part of it.",
        ),
    ] = 300_000,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Weights of torch-fidelity's Inception network, for FID, KID and Inception score.",
            show_default="its own download, where there is a GPU",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of latents and classifiers.")] = 0,
    column: Column = None,
    models: Models = Path("models"),
    cache: Cache = CACHE,
) -> None:
    """Measure an exported generator: its classes, its likeness to real images, memorisation, use in training.

    Writes evaluation.json and pictures beside the version, and both into the model card. Finished parts are
    kept in --cache until then: after an interruption, the same command goes on.
    """
    from training import evaluation, report  # noqa: PLC0415 - as for export
    from training.card import read_card  # noqa: PLC0415 - as for export

    with mistakes.in_a_line("lower --images"):
        shelved = Shelf(models).find(generator)
        refuse_unfit(shelved)
        read_card(shelved.path.parent.parent)  # one that cannot be kept is told before the work
        shape = shelved.contract.image
        size = shape.height, shape.channels
        train_images = load_images(data, *size, "train", column, cache)
        try:
            test_images = load_images(test or data, *size, "test", column, cache)
        except NoSplit:
            if not test:
                raise
            test_images = load_images(test, *size, "train", column, cache)
        real = RealImages(train_images, test_images)
        subject = Subject(shelved, real, images, presentations, seed)
        kept = Kept(cache.expanduser() / "evaluations", subject.settings)
        measured = evaluation.evaluate(subject, kept, inception_weights)
        typer.echo(report.as_markdown(measured))
        typer.echo(f"written to {report.write(subject, measured)}")
        kept.forget()


def _called_as() -> str:
    """This program as the shell finds it, or its name where it was started otherwise."""
    called = sys.argv[0]
    return called if Path(called).name == "ganserve" else "ganserve"


def _shelf_name(data_name: str) -> str:
    return re.sub(r"[^a-z0-9.-]+", "-", data_name.lower()).strip("-.") or "generator"
