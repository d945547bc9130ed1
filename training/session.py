"""A run under way: its steps, and what is logged, measured, kept and decided between them."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from training import checkpoint, processes
from training.data import ImageData
from training.features import fitted
from training.game import Game
from training.held_out import split
from training.monitor import Monitor
from training.quality import Quality
from training.run import BEST_FILE, RunRecord
from training.sample_grid import sample_grid
from training.stopping import Measurement, Verdict, best, judge

LOG_INTERVAL = 1_000
# how often a run may go back to its best state
RETURNS = 3


class Session:
    """Of several processes each has one, and all decide the same; the first alone measures and writes.

    Where a method gives a verdict, the run is to end.
    """

    def __init__(self, game: Game, data: ImageData, folder: Path, record: RunRecord) -> None:
        self._game, self._folder, self._record = game, folder, record
        seed, classes = record.hyperparameters.seed, record.data.classes
        real = split(data, record.data.held_out, seed)
        self._learned = real.learned
        if processes.is_first():
            self._quality = Quality(fitted(folder, self._learned, len(classes), seed), real, classes)
        processes.meet()  # the others would come to the first step while the classifier is fitted
        self._monitor: Monitor | None = None
        self._saved = self._logged = game.progress.images_seen
        self._sums: dict[str, Tensor] = {}
        self._last = 0.0

    def begin(self, monitor: Monitor | None) -> Verdict | None:
        """Start the clock, unless the measurements of an earlier session are enough."""
        self._monitor = monitor
        measured = self._game.progress.measured
        if measured and not processes.of_the_first(lambda: checkpoint.exists(self._folder / BEST_FILE)):
            # the next that is measured is the best that there is
            measured.clear()
            if monitor:
                monitor.best_is_gone()
        self._last = time.perf_counter()
        return self._weigh(self._judgement())

    def step(self) -> Verdict | None:
        """Train on one batch; then log, measure and save what is due."""
        game, batch = self._game, self._game.settings.batch
        for name, value in game.step(self._learned).items():
            self._sums[name] = self._sums.get(name, 0.0) + value * batch
        now = time.perf_counter()
        game.progress.seconds += now - self._last
        self._last = now
        if self._monitor:
            self._monitor.advance(batch)
        seen, snapshot = game.progress.images_seen, self._record.snapshot
        due = seen // snapshot > self._saved // snapshot or seen >= self._record.images
        if not due and seen // LOG_INTERVAL == self._logged // LOG_INTERVAL:
            return None
        means = self._means()
        if broken := self._broken(means):
            return self._weigh(broken)
        if due:
            return self._snapshot(means)
        self._log(means)
        return None

    def end(self) -> Verdict | None:
        """Save what is not saved yet, unless it has diverged."""
        if self._saved == self._game.progress.images_seen:
            return None
        means = self._means()
        if broken := self._broken(means):
            return broken
        if means:
            self._log(means)
        if self._monitor:
            self._game.settle(self._learned)
        self._save()
        return None

    def _snapshot(self, means: dict[str, float]) -> Verdict | None:
        measurement = processes.of_the_first(self._measure)
        measured = self._game.progress.measured
        measured.append(measurement)
        self._log(means | asdict(measurement))
        if self._monitor:
            self._monitor.tell(measurement, best(measured))
            self._monitor.show(measurement.images_seen, sample_grid(self._game.samples()))
            # before the checkpoint that knows of it: a kill between them only has it written again
            if best(measured) is measurement:
                self._game.save(self._folder, BEST_FILE)
        self._save()
        return self._weigh(self._judgement())

    def _measure(self) -> Measurement:
        self._game.settle(self._learned)
        return self._quality.measure(self._game)

    def _judgement(self) -> Verdict | None:
        progress = self._game.progress
        return judge(progress.measured, self._record.patience, progress.returned_at)

    def _weigh(self, verdict: Verdict | None) -> Verdict | None:
        """Go back to the best state instead, when the run has collapsed and may do so."""
        progress = self._game.progress
        asked = self._record.on_collapse == "restore" and progress.measured and progress.returns < RETURNS
        if not (verdict and verdict.kind == "collapse" and asked):
            return verdict
        processes.meet()  # by now the first has written the best state
        least = best(progress.measured)
        del progress.measured[progress.measured.index(least) + 1 :]
        self._game.return_to(self._folder, BEST_FILE)
        if self._monitor:
            self._monitor.returned(progress, verdict.reason, least)
        self._sums, self._logged = {}, progress.images_seen
        self._save()
        return None

    def _broken(self, means: dict[str, float]) -> Verdict | None:
        """Whether a loss or a weight is no finite number."""
        if not all(map(math.isfinite, means.values())):
            return Verdict("collapse", f"the losses are no finite numbers any more: {means}")
        if not self._game.finite():
            return Verdict("collapse", "some weights are no finite numbers any more")
        return None

    def _means(self) -> dict[str, float]:
        """What steps gave since the last log, on average."""
        seen = self._game.progress.images_seen - self._logged
        return {name: float(total) / seen for name, total in self._sums.items()}

    def _log(self, scalars: dict[str, Any]) -> None:
        seen = self._game.progress.images_seen
        if self._monitor:
            self._monitor.record(seen, scalars)
        self._sums, self._logged = {}, seen

    def _save(self) -> None:
        self._saved = self._game.progress.images_seen
        if self._monitor:
            self._game.save(self._folder)
