"""Reads how many cores and how much memory this process and its children may use; light to import.

A process may use less than the machine has: a mask of cores (`taskset`, a batch system) limits it,
or the quota of a control group (a container, a systemd slice) or of one of its ancestors.
"""

import contextlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
UNLIMITED = 2**60
"""In bytes: version 1 of control groups writes such a number where there is no limit."""


def usable_cpus(root: Path = ROOT) -> int:
    """Returns the number of usable cores: at least one, and a quota is rounded up."""
    quotas = [group.cpu_quota() for group in _groups(root, "cpu")]
    return max(1, min([_permitted_cpus(), *(math.ceil(q) for q in quotas if q is not None)]))


def usable_memory(root: Path = ROOT) -> int | None:
    """Returns the bytes that all processes together can still take; None if unknown.

    The limit of a single process is `process_memory_limit`.
    """
    bounds = [_available_memory(root)]
    bounds += [group.memory_left() for group in _groups(root, "memory")]
    return min((bound for bound in bounds if bound is not None), default=None)


def process_memory_limit() -> int | None:
    """Returns the bytes of address space of a single process (`ulimit -v`); None if unlimited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    limits = [resource.getrlimit(kind)[0] for kind in kinds]
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)


def _permitted_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):
            return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _available_memory(root: Path) -> int | None:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if match is not None:
        return int(match[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


@dataclass(frozen=True)
class _Group:
    """A control group that contains this process, directly or in a descendant."""

    directory: Path
    is_unified: bool  # version 2

    def cpu_quota(self) -> float | None:
        """Returns the quota in cores; None if there is none."""
        if self.is_unified:
            quota, _, period = _text(self.directory / "cpu.max").partition(" ")
        else:
            quota = _text(self.directory / "cpu.cfs_quota_us")
            period = _text(self.directory / "cpu.cfs_period_us")
        used, span = _number(quota), _number(period)
        return used / span if used and span else None

    def memory_left(self) -> int | None:
        """Returns the bytes left, counting reclaimable file cache as free; None if unlimited."""
        if self.is_unified:
            limits = [_number(_text(self.directory / f"memory.{n}")) for n in ("max", "high")]
            used = _number(_text(self.directory / "memory.current"))
            files = "inactive_file"
        else:
            limits = [_number(_text(self.directory / "memory.limit_in_bytes"))]
            used = _number(_text(self.directory / "memory.usage_in_bytes"))
            files = "total_inactive_file"
        limit = min((bound for bound in limits if bound is not None), default=UNLIMITED)
        if limit >= UNLIMITED:
            return None
        match = re.search(rf"^{files} (\d+)", _text(self.directory / "memory.stat"), re.MULTILINE)
        return max(0, limit - (used or 0) + (int(match[1]) if match else 0))


def _groups(root: Path, controller: str) -> Iterator[_Group]:
    """Yields the groups that limit this process in `controller`, from its own to the outermost."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        is_unified = number == "0" and not controllers
        if is_unified or controller in controllers.split(","):
            mount = _mount(root, None if is_unified else controller)
            if mount is not None:
                yield from _upwards(*mount, path, is_unified)


def _upwards(mounted_at: Path, top: str, path: str, is_unified: bool) -> Iterator[_Group]:
    """Yields a group and its ancestors, as far as they are visible."""
    inner = path.removeprefix(top.rstrip("/")) if path.startswith(top) else ""
    parts = [part for part in inner.split("/") if part]
    if ".." in parts:  # the process is outside of what is mounted here
        parts = []
    for depth in range(len(parts), -1, -1):
        directory = mounted_at.joinpath(*parts[:depth])
        if directory.is_dir():
            yield _Group(directory, is_unified)


def _mount(root: Path, controller: str | None) -> tuple[Path, str] | None:
    """Returns where a hierarchy of groups is mounted, and which of its groups is at the top there.

    Args:
        controller: a controller of version 1; None for version 2, which has one hierarchy.
    """
    for line in _text(root / "proc/self/mountinfo").splitlines():
        mount, _, source = line.partition(" - ")
        fields, kind = mount.split(), source.split()
        if len(fields) < 5 or not kind:
            continue
        is_it = kind[0] == "cgroup2"
        if controller is not None:
            is_it = kind[0] == "cgroup" and controller in kind[-1].split(",")
        if is_it:
            return root / _unescaped(fields[4]).lstrip("/"), _unescaped(fields[3])
    return None


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _number(text: str) -> int | None:
    """Parses a limit; returns None for no limit: `max`, -1, or a missing file."""
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
