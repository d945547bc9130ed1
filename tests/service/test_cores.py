"""Cores by affinity and by the quotas of control groups, laid out as Linux shows them (cgroups(7))."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.cores import usable_cores
from tests.service.server import ROOT

HERE = usable_cores(Path("/nowhere"))

V1 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
CPU = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
EMPTY = "30 23 0:27 / /run rw,nosuid shared:5 -  tmpfs  rw,mode=755\n"
V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> Path:
    written = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
    written |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of 16 cores, whatever this one has."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("expected", "cgroup", "mounts", "files"),
    [
        pytest.param(16, "", "", {}, id="no control groups"),
        pytest.param(16, "0::/\n", V2, {"cpu.max": "max 100000\n"}, id="no quota"),
        pytest.param(3, "0::/\n", V2, {"cpu.max": "300000 100000\n"}, id="a container's own group"),
        pytest.param(3, "0::/\n", EMPTY + V2, {"cpu.max": "300000 100000\n"}, id="a mount without a source"),
        pytest.param(2, "0::/\n", V2, {"cpu.max": "150000 100000\n"}, id="a core and a half"),
        pytest.param(1, "0::/\n", V2, {"cpu.max": "10000 100000\n"}, id="a tenth of a core"),
        pytest.param(16, "0::/\n", V2, {"cpu.max": "9900000 100000\n"}, id="more than there are"),
        pytest.param(
            4,
            "0::/pods/pod1/ganserve\n",
            V2,
            {
                "pods/pod1/ganserve/cpu.max": "max 100000\n",
                "pods/pod1/cpu.max": "400000 100000\n",
                "pods/cpu.max": "800000 100000\n",
            },
            id="the quota of a group around ours",
        ),
        pytest.param(
            5,
            "4:memory:/a\n2:cpu,cpuacct:/a/b\n0::/a\n",
            V1 + MEMORY + CPU.format(root="/"),
            {
                "cpu,cpuacct/a/b/cpu.cfs_quota_us": "500000\n",
                "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "memory/a/cpu.cfs_quota_us": "100000\n",
                "memory/a/cpu.cfs_period_us": "100000\n",
            },
            id="version 1",
        ),
        pytest.param(
            2,
            "2:cpu,cpuacct:/docker/0123\n",
            V1 + CPU.format(root="/docker/0123"),
            {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            id="version 1, a container that is shown its own group alone",
        ),
    ],
)
def test_quotas_of_control_groups_are_kept(
    expected: int, cgroup: str, mounts: str, files: dict[str, str], tmp_path: Path
) -> None:
    assert usable_cores(machine(tmp_path, cgroup, mounts, files)) == expected


def test_a_mount_whose_name_is_no_text_is_passed_over(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", V2, {"cpu.max": "100000 100000"})
    mounts = root / "proc/self/mountinfo"
    mounts.write_bytes(b"33 23 8:1 / /media/Fotos\xe4 rw - ext4 /dev/sdb1 rw\n" + mounts.read_bytes())
    assert usable_cores(root) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="sets the affinity")
def test_the_affinity_is_kept() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from service.settings import Settings; print(Settings().threads)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) == 1


def test_here_are_no_more_than_the_affinity_allows() -> None:
    assert 1 <= usable_cores() <= HERE
