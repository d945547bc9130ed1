"""Two processes and one run folder."""

import signal
from pathlib import Path

from tests.training.runs import Training, wait_for


def test_a_run_folder_is_refused_while_another_process_trains_in_it(
    digits_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    again = ("--images", "16", "--cache", str(tmp_path / "cache"))
    new = (str(digits_folder), "--resolution", "16", "--batch", "8", *again)
    first = Training(run, *new, signalled=(8, signal.SIGSTOP))  # it stays before its first checkpoint
    try:
        record = wait_for(run / "run.json", first.process.is_alive).read_bytes()
        for arguments in (new, ("--resume", *again)):
            second = Training(run, *arguments)
            assert second.wait() == (
                f"ganserve: another process trains in {run}; wait until it has ended, or name another --run\n"
            )
            assert second.process.exitcode == 1
        assert (run / "run.json").read_bytes() == record
    finally:
        first.process.kill()
    first.wait()
    assert "16 images seen" in Training(run, "--resume", *again).finish()
