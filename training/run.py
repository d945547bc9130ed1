"""The folder of a training run, and what was decided when it began."""

import subprocess
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from models.mistake import Mistake
from training import checkpoint
from training.data import ImageData
from training.files import replacing
from training.held_out import number_held_out
from training.hyperparameters import Hyperparameters

RUN_FILE = "run.json"
CHECKPOINT_FILE = "checkpoint.pt"
BEST_FILE = "best.pt"
CLASSIFIER_FILE = "classifier.pt"
LOG_FILE = "log.jsonl"
CURVES_FILE = "curves.png"
FILES = (RUN_FILE, CHECKPOINT_FILE, BEST_FILE, CLASSIFIER_FILE, LOG_FILE, CURVES_FILE)
SAMPLES_FOLDER = "samples"
# in images: when to stop at the latest, how often to measure and save, and how long to wait for better ones
IMAGES = 500_000
SNAPSHOT = 10_000
PATIENCE = 100_000


class RunError(Mistake):
    """A run that cannot be started, resumed or read."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecord(_Record):
    """Which images a run learns from, and from which column; the fingerprint is that of training.data.

    held_out: how many of them it does not learn from, but is measured by.
    """

    source: str
    column: str | None = None
    name: str
    fingerprint: str
    channels: Literal[1, 3]
    classes: tuple[str, ...]
    held_out: int = 0


class RunRecord(_Record):
    """What run.json holds."""

    hyperparameters: Hyperparameters
    data: DataRecord
    source_commit: str
    images: int = IMAGES
    snapshot: int = SNAPSHOT
    patience: int = PATIENCE
    on_collapse: Literal["stop", "restore"] = "stop"

    @classmethod
    def of(
        cls,
        hyperparameters: Hyperparameters,
        source: str,
        data: ImageData,
        *,
        column: str | None = None,
    ) -> Self:
        """The record of a run that begins now, from `data` that was loaded from a column of `source`."""
        return cls(
            hyperparameters=hyperparameters,
            data=DataRecord(
                source=str(Path(source).resolve()) if Path(source).exists() else source,
                column=column,
                name=data.name,
                fingerprint=data.fingerprint,
                channels=data.images.shape[3],
                classes=data.classes,
                held_out=number_held_out(len(data.labels)),
            ),
            source_commit=source_commit(),
        )

    def resumed(self, given: dict[str, Any]) -> Self:
        """The record to go on with. Raises RunError when a hyperparameter in `given` differs from the run's.

        But the microbatch may be another one where no network normalises over it: it changes rounding alone.
        Raises ValidationError when such do not make up a batch.
        """
        recorded = self.hyperparameters.model_dump()
        free = {"microbatch"} & given.keys() if self.hyperparameters.architecture == "r3gan" else set()
        changed = [
            f"--{name.replace('_', '-')} {value} (the run has {recorded[name]})"
            for name, value in given.items()
            if name not in free and self.hyperparameters != _with(recorded, name, value)
        ]
        if changed:
            raise RunError(f"a run resumes under its own hyperparameters; leave out {', '.join(changed)}")
        hyperparameters = Hyperparameters.model_validate(recorded | {name: given[name] for name in free})
        return self.model_copy(update={"hyperparameters": hyperparameters})


def _with(recorded: dict[str, Any], name: str, value: object) -> Hyperparameters | None:
    """The recorded hyperparameters with another value; None when it does not go with the others."""
    try:
        return Hyperparameters.model_validate(recorded | {name: value})
    except ValidationError:
        return None


def refuse_existing(folder: Path) -> None:
    """Raise RunError when a new run would lose something: a checkpoint, or files that are no run's."""
    if any(checkpoint.exists(folder / name) for name in (CHECKPOINT_FILE, BEST_FILE)):
        raise RunError(f"{folder} holds a run already; continue it with --resume, or name another --run")
    foreign = [name for name in (*FILES, SAMPLES_FOLDER) if (folder / name).exists()]
    if foreign and not (folder / RUN_FILE).exists():
        raise RunError(
            f"{folder} holds {' and '.join(foreign)}, which a run would replace, but no {RUN_FILE}: "
            "it is no run's folder; name another --run"
        )


def begin(folder: Path, record: RunRecord) -> None:
    """Record a new run in its folder, in the place of one without a checkpoint. Raises RunError."""
    refuse_existing(folder)
    if (folder / RUN_FILE).exists():
        for name in (CLASSIFIER_FILE, CURVES_FILE):
            (folder / name).unlink(missing_ok=True)
    write(folder, record)


def write(folder: Path, record: RunRecord) -> None:
    """Record a run in its folder."""
    with replacing(folder / RUN_FILE) as aside:
        aside.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> RunRecord:
    """What the run in the folder began with. Raises RunError when there is no readable run."""
    path = folder / RUN_FILE
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no run: there is no {RUN_FILE} in it") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def source_commit() -> str:
    """The commit of this code, with "-dirty" behind it when the tree differs; "unknown" outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
