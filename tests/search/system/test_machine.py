"""What a process may use: the cores of its mask, and the quotas of the groups it is in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.system import machine

GIB = 2**30


def a_machine(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """The files by which Linux tells of groups and memory, below a directory."""
    content = {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": mounts,
        "proc/meminfo": "MemTotal: 67108864 kB\nMemAvailable:   33554432 kB\n",
        **files,
    }
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


UNIFIED = "30 29 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"


@pytest.fixture(autouse=True)
def sixty_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 64),
        ("9900000 100000", 64),
        ("", 64),
    ],
)
def test_a_container_bears_as_many_workers_as_its_quota(
    tmp_path: Path, quota: str, cpus: int
) -> None:
    """Sixty-four cores that a container may use two of are two."""
    root = a_machine(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": quota + "\n"})

    assert cpus == machine.usable_cpus(root)


def test_the_quota_of_an_outer_group_counts(tmp_path: Path) -> None:
    """A group without a quota of its own is within one that has some."""
    files = {
        "sys/fs/cgroup/a.slice/cpu.max": "300000 100000",
        "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000",
        "sys/fs/cgroup/a.slice/memory.max": str(2 * GIB),
        "sys/fs/cgroup/a.slice/memory.current": str(GIB),
        "sys/fs/cgroup/a.slice/memory.stat": f"anon 5\ninactive_file {GIB // 4}\n",
        "sys/fs/cgroup/a.slice/b.scope/memory.max": "max",
    }
    root = a_machine(tmp_path, "0::/a.slice/b.scope\n", UNIFIED, files)

    assert 3 == machine.usable_cpus(root)
    assert GIB + GIB // 4 == machine.usable_memory(root)


def test_the_first_version_of_groups_counts_as_well(tmp_path: Path) -> None:
    """A container under the older hierarchy, whose own group is what it sees mounted."""
    mounts = (
        "33 32 0:29 /docker/c /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "34 32 0:30 /docker/c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    )
    groups = "4:memory:/docker/c\n3:cpu,cpuacct:/docker/c\n0::/\n"
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "0",
    }
    root = a_machine(tmp_path, groups, mounts, files)

    assert 4 == machine.usable_cpus(root)
    assert GIB == machine.usable_memory(root)


def test_without_any_limit_it_is_the_machine(tmp_path: Path) -> None:
    """No group, an unlimited one, or files that say nothing: what the machine has."""
    files = {
        "sys/fs/cgroup/memory.max": str(2**63 - 4096),
        "sys/fs/cgroup/cpu.max": "what is this",
    }
    limited = a_machine(tmp_path / "a", "0::/../../elsewhere\nrubbish\n", UNIFIED, files)

    for root in (limited, a_machine(tmp_path / "b", "", "", {})):
        assert 64 == machine.usable_cpus(root)
        assert 32 * GIB == machine.usable_memory(root)


@pytest.mark.skipif(sys.platform != "linux", reason="cores are bound on Linux alone")
def test_a_process_bound_to_one_core_has_one_worker() -> None:
    """Under `taskset -c 0` the default is one worker, whatever the machine has."""
    source = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from search.cli.common import worker_count\n"
        "print(worker_count(None, 1), worker_count(None, 4), worker_count(3, 1))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)

    assert "1 1 3\n" == done.stdout, done.stderr
