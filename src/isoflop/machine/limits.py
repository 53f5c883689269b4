"""The cores and the memory that this process may use: a container's or Slurm's share, not the machine's."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores this process may run on, by its affinity and by the cgroups' CPU quota (rounded down, at least one)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (limit.split() for limit in _limits("cpu.max"))
    return max(1, min([cores, *(int(quota) // int(period) for quota, period in quotas)]))


def usable_memory() -> int:
    """Bytes of the machine's memory, or of the least of the cgroups' limits."""
    return min([psutil.virtual_memory().total, *map(int, _limits("memory.max"))])


def _limits(name: str) -> list[str]:
    """What cgroup v2 limits of this process and of the groups around it; each holds for all inside."""
    if not OWN_CGROUP.exists():
        return []
    own = next((line[3:] for line in OWN_CGROUP.read_text().splitlines() if line.startswith("0::")), "/")
    group = CGROUPS / own.strip("/")
    files = [folder / name for folder in (group, *group.parents) if folder.is_relative_to(CGROUPS)]
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [text for text in texts if not text.startswith("max")]
