"""The files that several processes keep their metrics in."""

import os
import subprocess
import sys
from pathlib import Path

from service import SHARED_FOLDER
from tests.service.server import ROOT

WITHOUT_FALLOCATE = """
import os

if hasattr(os, "posix_fallocate"):  # macOS has none
    del os.posix_fallocate

import service.metrics

service.metrics.READY.set(1)
"""

COUNTS_TWO = """
import service.metrics
from prometheus_client import generate_latest

service.metrics.LOG_LINES_LOST.inc(2)
print(generate_latest(service.metrics.registry()).decode())
"""


def test_the_disk_is_taken_before_it_can_fill_up_on_every_system(tmp_path: Path) -> None:
    environment = os.environ | {SHARED_FOLDER: str(tmp_path)}
    subprocess.run([sys.executable, "-c", WITHOUT_FALLOCATE], cwd=ROOT, env=environment, check=True)
    files = {file.name.rpartition("_")[0]: file.stat() for file in tmp_path.iterdir()}
    assert files.keys() == {"counter", "histogram", "gauge_livemax", "gauge_livemin", "gauge_livesum"}
    assert all(512 * file.st_blocks >= file.st_size >= 2**16 for file in files.values())


def test_one_that_starts_after_another_died_goes_on_with_its_files(tmp_path: Path) -> None:
    environment = os.environ | {SHARED_FOLDER: str(tmp_path)}
    for counted in (2, 4, 6):
        told = subprocess.run(
            [sys.executable, "-c", COUNTS_TWO], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
        ).stdout.decode()
        assert f"\nganserve_log_lines_lost_total {counted}.0\n" in told
        assert len(list(tmp_path.iterdir())) == 5
