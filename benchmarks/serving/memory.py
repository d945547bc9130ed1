"""Whether memory grows under load.

    python -m benchmarks.serving.memory --minutes 10 --write

Sixteen callers of single images and one of arrays; the memory (PSS) of all processes, each second.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import models
from benchmarks.serving import report
from benchmarks.serving.bars import Bar
from benchmarks.serving.failures import Failure, LoadFailed
from benchmarks.serving.load import Outcome, check_wrk
from benchmarks.serving.processes import end_servers_at_signals
from benchmarks.serving.rounds import loaded
from benchmarks.serving.servers import GANSERVE
from benchmarks.serving.start import Started, started
from models.shelf import Shelf

MOST_GROWTH = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.memory")
    parser.add_argument("--minutes", type=int, default=10, choices=range(3, 1000), metavar="MINUTES")
    parser.add_argument("--write", action="store_true", help="the results into benchmarks/README.md")
    wanted = parser.parse_args()
    check_wrk()
    end_servers_at_signals()
    hardware = report.hardware()
    generator = Shelf(Path(models.__file__).parent).find("fashion-mnist")
    try:
        with started(GANSERVE, generator.path) as running:
            minutes = measure(running, wanted.minutes)
    except Failure as error:
        sys.exit(f"nothing was measured: {error}")
    growth = minutes[-1] / minutes[1] - 1
    bar = Bar(
        "memory of the server, last minute over second minute",
        f"under {MOST_GROWTH:.0%} growth",
        f"{growth:+.1%}",
        growth < MOST_GROWTH,
    )
    text = "\n\n".join(
        [
            f"`python -m benchmarks.serving.memory {' '.join(sys.argv[1:])}`. {hardware}.",
            report.bars_table([bar]),
            "Median MB of each minute: " + ", ".join(f"{megabytes:.1f}" for megabytes in minutes) + ".",
        ]
    )
    print(text)
    if wanted.write:
        report.put("memory", text)


def measure(running: Started, minutes: int) -> list[float]:
    """The median of each minute, in MB.

    Raises LoadFailed unless everybody was answered all the time.
    """
    medians = []
    seconds = 60 * minutes
    with (
        loaded(running, GANSERVE.picture, 16, seconds) as singles,
        loaded(running, GANSERVE.arrays, 1, seconds) as arrays,
    ):
        for _ in range(minutes):
            samples = []
            end = time.monotonic() + 60
            while time.monotonic() < end:
                samples.append(running.tree.megabytes())
                time.sleep(1)
            medians.append(statistics.median(samples))
            print(f"{medians[-1]:.1f} MB", flush=True)
        for load in (singles, arrays):
            check(load.outcome())
    return medians


def check(outcome: Outcome) -> None:
    """Raises LoadFailed where somebody was not answered, or nobody was."""
    if outcome.errors or not outcome.good:
        raise LoadFailed(f"{outcome.good:.0f} good answers a second, and {outcome.errors} errors in all")


if __name__ == "__main__":
    main()
