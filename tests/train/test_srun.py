from __future__ import annotations

import pytest

from isoflop.train.srun import first_host, torchrun_variables

TASK = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("gpu07,gpu08", "gpu07"),
        ("gpu[007-010,12],login", "gpu007"),
        ("gpu[3,5-6]", "gpu3"),
        ("rack1-n[12-13]-ib", "rack1-n12-ib"),
        ("a,b[1-2]", "a"),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_task_of_a_step_finds_its_place() -> None:
    found = torchrun_variables(TASK)
    assert found == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(20_000 + 1_234_567 % 20_000),
    }
    assert torchrun_variables(TASK | {"SLURM_PROCID": "0"})["MASTER_PORT"] == found["MASTER_PORT"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script's own process
        TASK | {"SLURM_STEP_NUM_TASKS": "1"},
        TASK | {"RANK": "0"},  # torchrun, one task a node
    ],
)
def test_who_is_alone_or_told_by_torchrun_is_left_as_he_is(environment: dict[str, str]) -> None:
    assert torchrun_variables(environment) == {}


def test_a_person_may_say_where_to_meet() -> None:
    assert torchrun_variables(TASK | {"MASTER_PORT": "5000"})["MASTER_PORT"] == "5000"
