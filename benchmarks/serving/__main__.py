"""`make bench`: Ganserve and its peers in turn, the limit beside them, and the bars.

python -m benchmarks.serving                                    a quick look: 2 s a cell, one round
python -m benchmarks.serving --seconds 4 --rounds 3 --write     as `make bench` does
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.serving import alone, bars, generators, report
from benchmarks.serving.environments import FOLDER, ROOT
from benchmarks.serving.failures import Failure, NotInstalled
from benchmarks.serving.load import check_wrk
from benchmarks.serving.processes import end_servers_at_signals
from benchmarks.serving.rounds import Results, in_turn, measure, measure_bare
from benchmarks.serving.servers import GANSERVE, SERVERS, Server
from benchmarks.serving.start import programs
from models.shelf import Generator

T = TypeVar("T")


def main() -> None:
    wanted = _arguments()
    check_wrk()
    end_servers_at_signals()
    began = time.monotonic()
    hardware = report.hardware()
    shelves = FOLDER / "shelves"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.generators", str(shelves)], cwd=ROOT, check=True
    )
    served = [generators.shelved(shelves, name) for name in generators.NAMES]
    servers = [server for server in SERVERS if server in (GANSERVE, *wanted.peers)]
    results = Results(absent=_build(servers, generators.NAMES))
    fairness: list[alone.Fairness] = []
    overload: list[alone.Overload] = []
    noop: list[alone.Noop] = []
    for round_ in range(wanted.rounds):
        for generator in served:
            for server in in_turn(servers, round_):
                if (generator.name, server.name) not in results.absent:
                    measure(results, server, generator, wanted.seconds)
            measure_bare(results, generator, wanted.seconds)
        _try(fairness, alone.fairness, served[0], wanted.seconds)
        _try(overload, alone.overload, served[0], wanted.seconds)
        _try(noop, alone.noop, served[0], wanted.seconds)
    reached = [bar for generator in served for bar in bars.of_generator(results, generator.name)]
    reached += [bars.of_fairness(fairness), *bars.of_overload(overload), bars.of_noop(noop)]
    text = "\n\n".join(
        [
            _how(wanted, time.monotonic() - began, hardware),
            report.bars_table(reached),
            *(report.tables(results, generator.name) for generator in served),
            report.setups(),
            report.versions({server for _, server in results.absent}),
        ]
    )
    print(text)
    if wanted.write:
        report.put("serving", text)


def _build(servers: list[Server], names: Sequence[str]) -> dict[tuple[str, str], str]:
    """Install the servers; the reasons why some are absent, by generator and server."""
    absent: dict[tuple[str, str], str] = {}
    for server in servers:
        try:
            programs(server)
        except NotInstalled as error:
            print(f"{server.name}: {error}", flush=True)
            absent |= {(name, server.name): str(error) for name in names}
    return absent


def _how(wanted: argparse.Namespace, seconds: float, hardware: str) -> str:
    return (
        f"`python -m benchmarks.serving {' '.join(sys.argv[1:])}`: medians of {wanted.rounds} rounds of "
        f"{wanted.seconds} s a cell, {seconds / 60:.0f} minutes. {hardware}."
    )


def _try(runs: list[T], measure: Callable[[Generator, int], T], generator: Generator, seconds: int) -> None:
    try:
        runs.append(measure(generator, seconds))
    except Failure as error:
        print(error, flush=True)
    else:
        print(runs[-1], flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--seconds", type=int, default=2, help="of load on each server, a workload and round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peers", nargs="*", default=SERVERS, type=_peer, help="instead of all")
    parser.add_argument("--write", action="store_true", help="the results into benchmarks/README.md")
    return parser.parse_args()


def _peer(name: str) -> Server:
    for server in SERVERS:
        if server.name == name:
            return server
    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(server.name for server in SERVERS)}")


if __name__ == "__main__":
    main()
