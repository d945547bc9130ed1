"""How many cores this process may keep busy: a container sees its host's, and is paid for fewer."""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that the scheduler lets us run on, or as many as the quotas of our control groups pay for.

    A fraction counts as a core. `root` is where /proc and /sys are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The cores that each control group around this process is limited to (Linux, cgroups(7))."""
    for mount, group in _groups(root):
        for folder in (group, *group.parents):
            match [_numbers(folder / name) for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]:
                case [(quota, period), *_] | [_, (quota,), (period,)] if quota > 0 and period > 0:
                    yield quota / period
            if folder == mount:
                break


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """Where hierarchies that limit the CPU are mounted, and the folder of this process's group in each."""
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        mounted, point = before.split()[3:5]
        kind, *_, options = after.split()  # the source between them may be empty
        if kind == "cgroup2":
            group = paths.get("")
        elif kind == "cgroup" and "cpu" in options.split(","):
            group = paths.get("cpu")
        else:
            continue
        mount = root / point.lstrip("/")
        # A container may be shown only its own group, mounted as if it were the topmost.
        if group and PurePosixPath(group).is_relative_to(mounted):
            yield mount, mount / PurePosixPath(group).relative_to(mounted)
        else:
            yield mount, mount


def _numbers(file: Path) -> tuple[int, ...]:
    """The numbers in a file; none where it says "max", or is not there."""
    words = " ".join(_lines(file)).split()
    return tuple(map(int, words)) if words and all(w.lstrip("-").isdecimal() for w in words) else ()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()  # of mounts whose names are no UTF-8
    except OSError:
        return []
