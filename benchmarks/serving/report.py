"""The results as Markdown, and their place in benchmarks/README.md."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.serving import environments
from benchmarks.serving.bare import BATCHES, Bare
from benchmarks.serving.bars import Bar
from benchmarks.serving.rounds import WORKLOADS, Cell, Results, Workload
from benchmarks.serving.servers import SERVERS
from benchmarks.serving.start import CORES

README = Path(__file__).parents[1] / "README.md"


def put(section: str, text: str) -> None:
    """Replace what stands between <!-- section --> and <!-- end of section --> in benchmarks/README.md."""
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    before, rest = README.read_text().split(begin)
    _, after = rest.split(end)
    README.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def hardware() -> str:
    load = os.getloadavg()[0]
    return (
        f"{CORES} cores of {_processor()}, {platform.system()} {platform.release()}; load before: {load:.1f}"
    )


def versions(absent: Iterable[str]) -> str:
    """Of what serves and what it computes with; `absent` names servers that are not there."""
    ours = [f"{name} {version(name)}" for name in ("onnxruntime", "numpy", "pillow")]
    lines = [f"Python {platform.python_version()}, {', '.join(ours)}"]
    seen = set()
    for server in SERVERS:
        if server.environment and server.environment not in seen and server.name not in absent:
            seen.add(server.environment)
            python = environments.FOLDER / server.environment / "bin/python"
            packages = [server.package, "onnxruntime", "numpy", "pillow"]
            lines.append(", ".join(f"{name} {environments.version(python, name)}" for name in packages))
    return "\n".join(f"- {line}" for line in lines)


def setups() -> str:
    """How each server is set up."""
    return "\n".join(
        f"- {server.name}: {server.setup}; threads a session: {1 if server.one_thread else CORES}"
        for server in SERVERS[1:]
    )


def tables(results: Results, generator: str) -> str:
    """A table for each load."""
    limit = results.limit(generator)
    parts = [_limit_table(generator, limit)]
    parts += [_table(results, generator, workload, limit.best) for workload in WORKLOADS]
    return "\n\n".join(parts)


def bars_table(bars: Sequence[Bar]) -> str:
    rows = [(bar.title, bar.wanted, bar.measured, "met" if bar.met else "**missed**") for bar in bars]
    return _markdown(("bar", "wanted", "measured", ""), rows)


def _limit_table(generator: str, limit: Bare) -> str:
    rows = [(way, *(f"{speed:.0f}" for speed in by_batch.values())) for way, by_batch in limit.ways.items()]
    header = ("images/s at a batch of", *map(str, BATCHES))
    return f"**{generator}: bare `session.run`**\n\n{_markdown(header, rows)}"


def _table(results: Results, generator: str, workload: Workload, limit: float) -> str:
    header = (
        "server", "images/s", "over bare", "p50 ms", "p99 ms", "errors", "CPU s per 1,000 images", "memory MB"
    )  # fmt: skip
    rows = []
    for server in SERVERS:
        if cell := results.median(generator, server.name, workload):
            rows.append((server.name, *_values(cell, limit)))
        elif reason := results.absent.get((generator, server.name)):
            rows.append((server.name, f"absent: {reason.replace('|', '/')}", *[""] * (len(header) - 2)))
    return f"**{generator}: {workload.title}**\n\n{_markdown(header, rows)}"


def _values(cell: Cell, limit: float) -> tuple[str, ...]:
    return (
        f"{cell.images_per_second:.0f}",
        f"{cell.images_per_second / limit:.2f}",
        f"{cell.p50_ms:.1f}",
        f"{cell.p99_ms:.1f}",
        str(cell.errors),
        f"{cell.cpu_seconds:.2f}",
        f"{cell.megabytes:.0f}",
    )


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return found[1] if found else platform.machine()
