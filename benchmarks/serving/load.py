"""A closed loop of requests by wrk: each connection sends the next when the last is answered."""

import itertools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from benchmarks.serving.failures import LoadFailed

SCRIPT = Path(__file__).with_name("load.lua")

_first_seeds = itertools.count(0, 10_000_000)


def check_wrk() -> None:
    """Exits when wrk is not there."""
    if not shutil.which("wrk"):
        sys.exit("wrk makes the load and is not there: apt-get install wrk")


class _Seen(BaseModel):
    """What load.lua prints: `broken` are errors of sockets and time-outs, `bad_statuses` are 400 and above.

    `served` (200), `refused` (503 with Retry-After) and `unfit` (others) are the answers that were counted.
    """

    seconds: float
    answers: int
    p50_ms: float
    p99_ms: float
    bad_statuses: int
    broken: int
    served: int
    refused: int
    unfit: int


@dataclass(frozen=True)
class Outcome:
    """Good and refused answers a second; `errors` are all others, and broken connections."""

    good: float
    refused: float
    errors: int
    p50_ms: float
    p99_ms: float


class Load:
    """Requests to `url` for so many seconds, from the moment that this is made; `with` ends them.

    `body` has SEED and LABEL where requests differ; without one they are GET. `pause_ms` is between the
    requests of a connection. With `after`, answers count from that second on: where they are few, those that
    are under way at the end are then made up for by those that were at the beginning. It also tells
    refusals, which are 503 with Retry-After, from errors.
    """

    def __init__(
        self,
        url: str,
        body: str,
        *,
        connections: int,
        seconds: int,
        pause_ms: int = 0,
        after: int | None = None,
    ) -> None:
        self._after = after
        self._patience = seconds + 90
        options = [f"--connections={connections}", f"--duration={seconds}s", "--threads=1"]
        arguments = [body, str(next(_first_seeds)), str(pause_ms), "-" if after is None else str(after)]
        self._process = subprocess.Popen(
            ["wrk", *options, "--timeout=60s", f"--script={SCRIPT}", url, "--", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def outcome(self) -> Outcome:
        """What wrk saw from the first to the last second.

        Raises LoadFailed.
        """
        try:
            printed, _ = self._process.communicate(timeout=self._patience)
        except subprocess.TimeoutExpired:
            raise LoadFailed("wrk did not come to its end") from None
        *_, last = printed.splitlines() or [""]
        if self._process.returncode:
            raise LoadFailed(f"wrk: {last}")
        seen = _Seen.model_validate_json(last)
        if self._after is None:
            good, refused, errors = seen.answers - seen.bad_statuses, 0, seen.bad_statuses
        else:
            good, refused, errors = seen.served, seen.refused, seen.unfit
        counted = seen.seconds - (self._after or 0)
        return Outcome(good / counted, refused / counted, errors + seen.broken, seen.p50_ms, seen.p99_ms)
