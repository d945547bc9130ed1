"""What the service must reach, each a ratio inside one run."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from benchmarks.serving.alone import Fairness, Noop, Overload
from benchmarks.serving.rounds import ARRAYS, MANY, ONE, WORKLOADS, Results, Workload
from benchmarks.serving.servers import GANSERVE, SERVERS


@dataclass(frozen=True)
class Bar:
    """`wanted` and `measured` as the table shows them."""

    title: str
    wanted: str
    measured: str
    met: bool


def of_generator(results: Results, generator: str) -> Iterator[Bar]:
    """The bars of the comparison."""
    ours = {workload: results.median(generator, GANSERVE.name, workload) for workload in WORKLOADS}
    one, many, arrays = ours[ONE], ours[MANY], ours[ARRAYS]
    if one is None or many is None or arrays is None:
        reason = results.absent.get((generator, GANSERVE.name), "no figures")
        yield Bar(f"{generator}: the service", "figures for every load", reason, met=False)
        return
    limit = results.limit(generator)
    best, who = _best_peer(results, generator, MANY)
    ratio = many.images_per_second / best
    yield Bar(f"{generator}: {MANY.title}, over the best peer", "1.25", f"{ratio:.2f} ({who})", ratio >= 1.25)
    for way, by_batch in limit.ways.items():
        batch, best = max(by_batch.items(), key=itemgetter(1))
        ratio = arrays.images_per_second / best
        title = f"{generator}: {ARRAYS.title}, over bare `session.run`, {way}"
        yield Bar(title, "0.95", f"{ratio:.2f} (batch {batch})", ratio >= 0.95)
    best, who = _best_peer(results, generator, ARRAYS)
    ratio = arrays.images_per_second / best
    yield Bar(
        f"{generator}: {ARRAYS.title}, over the best peer", "above 1", f"{ratio:.2f} ({who})", ratio > 1
    )
    most = limit.row_ms + limit.encode_ms + 1.5
    yield Bar(
        f"{generator}: {ONE.title}, p50",
        f"{most:.2f} ms (a row {limit.row_ms:.2f}, encoding {limit.encode_ms:.2f}, 1.5)",
        f"{one.p50_ms:.2f} ms",
        one.p50_ms <= most,
    )
    errors = sum(cell.errors for cell in (one, many, arrays, ours[WORKLOADS[1]]) if cell)
    yield Bar(f"{generator}: errors", "0", str(errors), errors == 0)


def of_fairness(runs: Sequence[Fairness]) -> Bar:
    ratio = _median(run.ratio for run in runs)
    alone = _median(run.p99_alone_ms for run in runs)
    beside = _median(run.p99_beside_bulk_ms for run in runs)
    return Bar(
        "p99 of 16 single-image callers beside a caller of 256 images a request",
        "under 3 times",
        f"{ratio:.2f} ({beside:.1f} ms, {alone:.1f} ms without)",
        ratio < 3,
    )


def of_overload(runs: Sequence[Overload]) -> Iterator[Bar]:
    ratio = _median(run.ratio for run in runs)
    peak = _median(run.peak for run in runs)
    title = f"{_median(run.offered for run in runs):.0f} times the load that can be served"
    yield Bar(f"{title}: images/s over the peak", "0.9", f"{ratio:.2f} (peak {peak:.0f})", ratio >= 0.9)
    errors = sum(run.errors for run in runs)
    refused = _median(run.refused for run in runs)
    yield Bar(
        f"{title}: answers other than 200 and 503 with Retry-After",
        "0",
        f"{errors} (refused: {refused:.0f} images/s)",
        errors == 0 and refused > 0,
    )


def of_noop(runs: Sequence[Noop]) -> Bar:
    ratio = _median(run.ratio for run in runs)
    ours, fastapi = (_median(getattr(run, name) for run in runs) for name in ("ganserve", "fastapi"))
    return Bar(
        "a no-op over one of FastAPI, a process a core each",
        "0.57",
        f"{ratio:.2f} ({ours:.0f}, {fastapi:.0f} requests/s)",
        ratio >= 0.57,
    )


def _best_peer(results: Results, generator: str, workload: Workload) -> tuple[float, str]:
    found = [(results.median(generator, server.name, workload), server.name) for server in SERVERS[1:]]
    return max(
        ((cell.images_per_second, name) for cell, name in found if cell and cell.images_per_second),
        default=(math.nan, "no peer"),
    )


def _median(values: Iterable[float]) -> float:
    """NaN, which no bar is met by, where everything failed."""
    return statistics.median(found) if (found := list(values)) else math.nan
