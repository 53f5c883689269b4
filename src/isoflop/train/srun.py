"""A process's place among those that train together, told by Slurm's srun in other words than by torchrun.

``srun --ntasks-per-node 8 isoflop train study/`` needs no torchrun then: one task a GPU, on any number of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FIRST_PORT, NUM_PORTS = 20_000, 20_000


def torchrun_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK and where to meet, for a task of a job step of several; else nothing.

    What torchrun or a person has set stays. A batch script's own process is no task of a step: in it a plain
    ``isoflop train`` trains alone, however many tasks the job may start.
    """
    size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if size == 1 or "RANK" in environment:
        return {}
    port = FIRST_PORT + int(environment["SLURM_JOB_ID"]) % NUM_PORTS
    found = {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(port),
    }
    return {name: environment.get(name, value) for name, value in found.items()}


def first_host(nodes: str) -> str:
    """Of a list such as ``gpu[007-010,12],login``: ``gpu007``."""
    ranges = re.match(r"(?P<stem>[^,\[]*)(?:\[(?P<first>\d+)[^\]]*\](?P<rest>[^,\[]*))?", nodes)
    assert ranges is not None, "every part may be empty"
    return "".join(part or "" for part in ranges.groups())
