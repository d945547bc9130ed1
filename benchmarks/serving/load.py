"""A closed loop of requests by wrk: each connection sends the next when the last is answered."""

import itertools
import subprocess
from pathlib import Path

from pydantic import BaseModel

SCRIPT = Path(__file__).with_name("load.lua")

_first_seeds = itertools.count(0, 10_000_000)


class Outcome(BaseModel):
    """What wrk saw: `broken` are errors of sockets and time-outs, `bad_statuses` answers of 400 and above.

    `served` (200), `refused` (503 with Retry-After) and `unfit` (others) are counted on request.
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

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (self.answers - self.bad_statuses) / self.seconds


class Load:
    """Requests to `url` for so many seconds, begun at once and waited for by `outcome`.

    `body` has SEED and LABEL where requests differ; without one they are GET. `pause_ms` is between the
    requests of a connection.
    """

    def __init__(
        self,
        url: str,
        body: str,
        *,
        connections: int,
        seconds: float,
        pause_ms: int = 0,
        count_statuses: bool = False,
    ) -> None:
        self._patience = seconds + 60
        options = [f"--connections={connections}", f"--duration={round(seconds)}s", "--threads=1"]
        arguments = [body, str(next(_first_seeds)), str(pause_ms), "status" if count_statuses else "-"]
        self._process = subprocess.Popen(
            ["wrk", *options, "--timeout=60s", f"--script={SCRIPT}", url, "--", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )

    def outcome(self) -> Outcome:
        try:
            printed, _ = self._process.communicate(timeout=self._patience)
        finally:
            self._process.kill()
            self._process.wait()
        return Outcome.model_validate_json(printed.splitlines()[-1])
