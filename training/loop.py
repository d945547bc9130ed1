"""Play the game until it is over: enough images seen, nothing more to win, a collapse, or a signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from models.mistake import Mistake
from training import processes
from training.data import ImageData
from training.game import Game
from training.monitor import Monitor
from training.run import BEST_FILE, RunError, RunRecord
from training.session import RETURNS, Session
from training.stopping import Verdict, best


class Collapsed(Mistake):
    """A run that has gone wrong; its best state is kept."""


def run_game(game: Game, data: ImageData, folder: Path, record: RunRecord) -> signal.Signals | Verdict | None:
    """Train until `record.images` were seen, or the measurements say that it was enough, or a signal came.

    Every `record.snapshot` images the run is measured, shown and saved. Between steps SIGINT and SIGTERM save
    a checkpoint and end the training; the signal is then returned. Raises Collapsed when the run has gone
    wrong, and RunError when something cannot be written. Of several processes the first alone writes.
    """
    progress = game.progress
    start = progress.images_seen
    if processes.total(start) != start * processes.count():
        raise RunError(f"the processes found different checkpoints; {folder} must be one folder for all")
    with _failed_writes(folder):
        session = Session(game, data, folder, record)  # a signal that comes meanwhile ends it at once
        shown = (
            Monitor(folder, start, record.images, returned_at=progress.returned_at)
            if processes.is_first()
            else nullcontext()
        )
        with _signals() as received, shown as monitor:
            verdict = session.begin(monitor)
            while not verdict and progress.images_seen < record.images and not _asked(received):
                verdict = session.step()
            verdict = verdict or session.end()
    if verdict and verdict.kind == "collapse":
        penalized = record.hyperparameters.penalty != "none"
        remedy = "a higher --gamma" if penalized else "a --penalty, such as r1+r2"
        advice = f"start another run with a lower --learning-rate or {remedy}"
        if progress.measured and progress.returns < RETURNS:
            advice += ", or go on with --resume --on-collapse restore"
        raise Collapsed(f"{conclusion(verdict, game)}; {advice}")
    return verdict or (received[0] if received else None)


def conclusion(verdict: Verdict, game: Game) -> str:
    """Why a run ended, when, and what is kept of it, in a line."""
    measured = game.progress.measured
    kept = (
        f"{BEST_FILE} keeps the best, of {best(measured).images_seen:,} images "
        f"(distance {best(measured).distance:.3g})"
        if measured
        else "nothing was measured before, so nothing is kept"
    )
    return f"stopped at {game.progress.images_seen:,} images: {verdict.reason}; {kept}"


def _asked(received: list[signal.Signals]) -> bool:
    """Whether a signal came to any process, so that all stop after the same step."""
    # a signal that comes in the meantime is not yet known to the others
    asked = processes.total(len(received)) > 0
    if asked and not received:
        received.append(signal.SIGTERM)
    return asked


@contextmanager
def _failed_writes(folder: Path) -> Iterator[None]:
    """A full disk ends the run with one line."""
    before = threading.excepthook
    # tensorboard writes in a thread, whose errors it raises here as well
    threading.excepthook = lambda told: None if isinstance(told.exc_value, OSError) else before(told)
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{error.filename or folder} cannot be written ({error.strerror}); the last checkpoint is kept; "
            "mend that, then continue with --resume"
        ) from None
    finally:
        threading.excepthook = before


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """The signals that ask to stop, as they arrive."""
    received: list[signal.Signals] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(signal.Signals(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
