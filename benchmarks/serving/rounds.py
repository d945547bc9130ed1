"""Servers in turn, again and again, under each load: a cell is one server under one load, in one round."""

import math
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.serving.bare import BATCHES, Bare
from benchmarks.serving.environments import ROOT
from benchmarks.serving.failures import Failure
from benchmarks.serving.load import Load
from benchmarks.serving.questions import Question
from benchmarks.serving.servers import Server
from benchmarks.serving.start import CORES, Started, started
from models.shelf import Generator

WARM_UP = 1  # second


@dataclass(frozen=True)
class Workload:
    """`connections` that each ask for one picture, or for an array of several images, at a time."""

    title: str
    connections: int
    arrays: bool = False

    def question(self, server: Server) -> Question:
        return server.arrays if self.arrays else server.picture


WORKLOADS = (
    Workload("one image a request, 1 connection", 1),
    Workload("one image a request, 16 connections", 16),
    Workload("one image a request, 64 connections", 64),
    Workload("64 images a request as arrays, 4 connections", 4, arrays=True),
)
ONE, _, MANY, ARRAYS = WORKLOADS


@dataclass(frozen=True)
class Cell:
    """`cpu_seconds` are for 1,000 images."""

    images_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_seconds: float
    megabytes: float


@dataclass
class Results:
    """By generator, server and workload, the cells of all rounds; `absent` says why a server has none."""

    cells: dict[tuple[str, str, str], list[Cell]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[str, list[Bare]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[tuple[str, str], str] = field(default_factory=dict)

    def median(self, generator: str, server: str, workload: Workload) -> Cell | None:
        """The median of each value; errors are added."""
        if not (cells := self.cells.get((generator, server, workload.title))):
            return None
        names = ("images_per_second", "p50_ms", "p99_ms", "cpu_seconds", "megabytes")
        values = {name: statistics.median(getattr(cell, name) for cell in cells) for name in names}
        return Cell(errors=sum(cell.errors for cell in cells), **values)

    def limit(self, generator: str) -> Bare:
        """The median of each value of the bare session."""
        runs = self.bare[generator]
        return Bare(
            as_it_comes=_median_by_batch([run.as_it_comes for run in runs]),
            a_loop_a_core=_median_by_batch([run.a_loop_a_core for run in runs]),
            row_ms=statistics.median(run.row_ms for run in runs),
            encode_ms=statistics.median(run.encode_ms for run in runs),
        )


def measure(results: Results, server: Server, generator: Generator, seconds: int) -> None:
    """Start the server, see that it does the work, and measure it under each load."""
    key = (generator.name, server.name)
    image = generator.contract.image
    try:
        with started(server, generator.path) as running:
            for question in (server.picture, server.arrays):
                question.check(running.url, image.height, image.width, image.channels)
            for question in (server.arrays, server.picture):  # what the last one leaves is done at once
                warm_up(running, question)
            for workload in WORKLOADS:
                cell = measure_cell(running, server, workload, seconds)
                results.cells[*key, workload.title].append(cell)
                _tell(*key, workload.title, cell)
    except Failure as error:
        results.absent[key] = str(error)
        print(f"{generator.name}, {server.name}: {error}", flush=True)


def warm_up(running: Started, question: Question) -> None:
    with loaded(running, question, 16 if question.n == 1 else 2, WARM_UP) as load:
        load.outcome()


def measure_cell(running: Started, server: Server, workload: Workload, seconds: int) -> Cell:
    """Twice as long for arrays, which are few."""
    question = workload.question(server)
    length, after = (2 * seconds + WARM_UP, WARM_UP) if workload.arrays else (seconds, None)
    cpu_seconds = running.tree.cpu_seconds()
    with loaded(running, question, workload.connections, length, after) as load:
        outcome = load.outcome()
    cpu_seconds = running.tree.cpu_seconds() - cpu_seconds
    images_per_second = outcome.good * question.n
    return Cell(
        images_per_second=images_per_second,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        errors=outcome.errors,
        cpu_seconds=1000 * cpu_seconds / (images_per_second * length) if images_per_second else math.nan,
        megabytes=running.tree.megabytes(),
    )


def measure_bare(results: Results, generator: Generator, seconds: int) -> None:
    """The limit, in about `seconds` for each of two ways."""
    shelf = generator.path.parents[2]
    each = seconds / len(BATCHES)
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(shelf), str(CORES), str(each)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    bare = Bare.model_validate_json(done.stdout)
    results.bare[generator.name].append(bare)
    print(f"{generator.name}, bare session.run: {bare.best:.0f} images/s", flush=True)


def in_turn(servers: Sequence[Server], round_: int) -> Iterable[Server]:
    """The servers, each round another one first."""
    shift = round_ % len(servers)
    return (*servers[shift:], *servers[:shift])


def loaded(
    running: Started, question: Question, connections: int, seconds: int, after: int | None = None
) -> Load:
    """Callers of a server, each with one question after the other."""
    url = running.url + question.path
    return Load(url, question.body, connections=connections, seconds=seconds, after=after)


def _median_by_batch(runs: list[dict[int, float]]) -> dict[int, float]:
    return {batch: statistics.median(run[batch] for run in runs) for batch in runs[0]}


def _tell(generator: str, server: str, workload: str, cell: Cell) -> None:
    print(
        f"{generator}, {server}, {workload}: {cell.images_per_second:.0f} images/s, "
        f"p50 {cell.p50_ms:.1f} ms, p99 {cell.p99_ms:.1f} ms, {cell.errors} errors",
        flush=True,
    )
