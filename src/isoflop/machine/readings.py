"""What the machine does at this moment: its cores, memory, disk, and GPUs, for a person who watches."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from isoflop.core.files import existing_parent

_QUERY = "name,utilization.gpu,memory.used,memory.total,power.draw,temperature.gpu"
_MEBI = 2**20


@dataclass(frozen=True)
class GPU:
    name: str
    utilisation: float
    memory_bytes: float
    total_bytes: float
    watts: float
    celsius: float


@dataclass(frozen=True)
class Readings:
    cores: list[float]
    """Share of each that was busy since the last reading."""
    memory_bytes: int
    """In use, by anybody."""
    total_bytes: int
    free_disk_bytes: int
    """Where the study lies."""
    gpus: list[GPU]


def read_machine(folder: Path) -> Readings:
    """The first call's shares of the cores mean nothing: they are since the last one."""
    memory = psutil.virtual_memory()
    return Readings(
        cores=[percent / 100 for percent in psutil.cpu_percent(percpu=True)],
        memory_bytes=memory.total - memory.available,
        total_bytes=memory.total,
        free_disk_bytes=shutil.disk_usage(existing_parent(folder)).free,
        gpus=list(_gpus()),
    )


def _gpus() -> Iterator[GPU]:
    """As nvidia-smi tells; none where there is no such program, or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return
    for line in done.stdout.splitlines():
        name, *values = (part.strip() for part in line.split(","))
        use, held, total, watts, celsius = (_number(value) for value in values)
        yield GPU(name, use / 100, held * _MEBI, total * _MEBI, watts, celsius)


def _number(text: str) -> float:
    """Not a number where the driver says ``[N/A]``."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
