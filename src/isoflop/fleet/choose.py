"""The executor a person names."""

from __future__ import annotations

from pathlib import Path

from isoflop.core.executor import Executor, Place
from isoflop.fleet.local import Local
from isoflop.fleet.ray import Ray
from isoflop.fleet.slurm import Slurm
from isoflop.machine.limits import usable_cores


def executor_on(place: Place, *, workers: int | None, folder: Path) -> Executor:
    """So many ``workers``: this machine's cores, or as many as the cluster has, where none are named. What a cluster's
    jobs print goes to ``folder``."""
    if place == "ray":
        return Ray(num_processes=workers, folder=folder)
    if place == "slurm":
        return Slurm(folder, num_processes=workers)
    return Local(workers or usable_cores())
