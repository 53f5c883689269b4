from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from isoflop.machine import limits
from isoflop.machine.limits import usable_cores, usable_memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's cgroup, two levels below the root, on a machine of eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "OWN_CGROUP", tmp_path / "own")
    (tmp_path / "own").write_text("4:memory:/elsewhere\n0::/slurm/job\n")
    folder = tmp_path / "cgroup" / "slurm" / "job"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("max 100000", "max 100000", 8),
        ("200000 100000", "max 100000", 2),
        ("350000 100000", "250000 100000", 2),
        ("50000 100000", "max 100000", 1),
        ("1600000 100000", "max 100000", 8),
    ],
)
def test_the_least_cpu_quota_counts(group: Path, inner: str, outer: str, expected: int) -> None:
    (group / "cpu.max").write_text(inner + "\n")
    (group.parent / "cpu.max").write_text(outer + "\n")
    assert usable_cores() == expected


def test_the_least_memory_limit_counts(group: Path) -> None:
    total = psutil.virtual_memory().total
    assert usable_memory() == total
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1000000\n")
    assert usable_memory() == 1_000_000


def test_without_cgroups_the_machine_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "OWN_CGROUP", tmp_path / "absent")
    assert usable_memory() == psutil.virtual_memory().total
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
