"""How the service ends that cannot go on: with exit code 1, from whichever of its processes."""

import atexit
import logging
import os
import signal
import sys

import bentoml

from service import shared


def end_when_a_process_fails() -> None:
    """In BentoML's supervisor: let `fail` in a worker end everything, with exit code 1."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the others fail for the same reason
        fail()

    signal.signal(signal.SIGUSR1, end)


def fail() -> None:
    """Stop as on SIGTERM, but with exit code 1; a worker asks its supervisor to.

    BentoML's supervisor starts a worker that ends again without end, and on SIGTERM its exit code is 0.
    """
    if bentoml.server_context.worker_index is not None:
        os.kill(os.getppid(), signal.SIGUSR1)
        return
    atexit.register(_exit_with_failure)
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_with_failure() -> None:
    shared.remove()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
