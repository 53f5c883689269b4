"""The executor a person names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from isoflop.core.executor import Executor
from isoflop.fleet.local import Local
from isoflop.fleet.ray import Ray
from isoflop.fleet.slurm import Slurm
from isoflop.machine.limits import usable_cores

Place = Literal["local", "ray", "slurm"]


def executor_on(place: Place, *, workers: int | None, folder: Path) -> Executor:
    """So many ``workers``: this machine's cores, or as many as the cluster has, where none are named. What Slurm needs
    for its jobs goes to ``folder``."""
    if place == "ray":
        return Ray(num_processes=workers)
    if place == "slurm":
        return Slurm(folder, num_processes=workers)
    return Local(workers or usable_cores())
