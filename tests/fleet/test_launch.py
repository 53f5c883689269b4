"""Job files, read back by what would read them where that is installed: SkyPilot's parser, Kubeflow's models, Ray's,
PyYAML, bash."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from pieces import until

from isoflop.core.process import MAX_RESTARTS
from isoflop.fleet.launch import WRITERS, Launch, kubernetes, ray, skypilot, slurm

LAUNCH = Launch("/data/My Study_1", 2, 8, "H100", 30.5, ("--sharded",), image="registry/isoflop:1")


def test_names_are_taken_anywhere() -> None:
    assert LAUNCH.name == "isoflop-my-study-1"
    assert len(dataclasses.replace(LAUNCH, study="/x/" + "a" * 99).name) <= 50


def test_slurms_script_is_one_that_bash_reads_and_sbatch_understands() -> None:
    script = slurm(LAUNCH)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH --")]
    asked = dict(line.split("=", 1) for line in lines if "=" in line)
    assert asked["nodes"] == "2" and asked["ntasks-per-node"] == "8" and asked["time"] == "1-06:30:00"
    assert asked["output"] == "'/data/My Study_1/slurm-%j.out'"
    assert asked["signal"] == "USR1@300" and "requeue" in lines
    assert "srun --kill-on-bad-exit=1 isoflop train '/data/My Study_1' --quiet --sharded" in script


@pytest.mark.parametrize(("code", "told"), [(130, "requeued 7"), (0, "resumed"), (9, "")])
def test_slurms_script_queues_anew_when_it_was_asked_to_save(tmp_path: Path, code: int, told: str) -> None:
    for name, does in {
        "srun": f"exit {code}",
        "scontrol": 'echo "requeued $2"',
        "isoflop": '[ "$1" = resume ] && echo resumed',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "job").write_text(slurm(LAUNCH))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "job"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == told and (done.returncode == 0) == (code != 9)


def test_skypilots_task() -> None:
    launch = dataclasses.replace(LAUNCH, spot=True, max_hourly_cost=40.0)
    task = yaml.safe_load(skypilot(launch))
    assert task["num_nodes"] == 2 and task["resources"]["accelerators"] == {"H100": 8}
    assert task["resources"]["use_spot"] is True and task["resources"]["max_hourly_cost"] == 40.0
    assert task["file_mounts"]["/isoflop/study"]["source"] == "/data/My Study_1"
    assert "run: |" in skypilot(launch)
    assert subprocess.run(["bash", "-n"], input=task["run"], text=True, check=False).returncode == 0
    assert task["run"].split()[0] == "torchrun" and "-m isoflop train /isoflop/study --quiet --sharded" in task["run"]


@pytest.mark.parametrize(("rank", "code", "told"), [(0, 0, "resume /isoflop/study --quiet"), (1, 0, ""), (0, 9, "")])
def test_jobs_of_several_nodes_end_the_study_on_the_first(tmp_path: Path, rank: int, code: int, told: str) -> None:
    for name, does in {"torchrun": f"exit {code}", "isoflop": 'echo "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    ranks = {"SKYPILOT_NODE_RANK": str(rank), "PET_NODE_RANK": str(rank)}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"} | ranks
    run = yaml.safe_load(skypilot(LAUNCH))["run"]
    for command in (["bash", "-c", run], yaml.safe_load(kubernetes(LAUNCH))["spec"]["trainer"]["command"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == (told, code)


def test_a_container_that_is_asked_to_stop_lets_torchrun_save(tmp_path: Path) -> None:
    saving = "trap 'sleep 0.3; touch saved; exit 130' TERM; touch started; while true; do sleep 0.01; done"
    for name, does in {"torchrun": saving, "isoflop": "touch ended"}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    command = yaml.safe_load(kubernetes(LAUNCH))["spec"]["trainer"]["command"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PET_NODE_RANK": "0"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as shell:
        until((tmp_path / "started").exists)
        shell.terminate()
        assert shell.wait() == 130
    assert (tmp_path / "saved").exists() and not (tmp_path / "ended").exists()


def test_skypilots_own_parser_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # it keeps things there
    sky = pytest.importorskip("sky")
    launch = dataclasses.replace(LAUNCH, study=str(tmp_path), spot=True, max_hourly_cost=40.0)
    task = sky.Task.from_yaml_config(yaml.safe_load(skypilot(launch)))
    (resources,) = task.resources
    assert task.num_nodes == 2 and list(task.storage_mounts) == ["/isoflop/study"]
    assert resources.accelerators == {"H100": 8} and resources.use_spot and resources.max_hourly_cost == 40.0
    assert resources.job_recovery["max_restarts_on_errors"] == MAX_RESTARTS
    wrong = skypilot(launch).replace("use_spot", "use_spots")
    with pytest.raises(ValueError, match="use_spots"):
        sky.Task.from_yaml_config(yaml.safe_load(wrong))


def test_kubernetes_job() -> None:
    job = yaml.safe_load(kubernetes(LAUNCH))
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert "torchrun -m isoflop train /isoflop/study --quiet --sharded" in trainer["command"][-1]
    assert trainer["image"] == "registry/isoflop:1"
    assert job["spec"]["activeDeadlineSeconds"] == 109_800


def test_kubeflows_own_model_takes_it() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    value = yaml.safe_load(kubernetes(LAUNCH))
    job = models.TrainerV1alpha1TrainJob.from_dict(value)
    assert job.to_dict()["spec"] == value["spec"]
    with pytest.raises(ValueError):
        models.TrainerV1alpha1TrainJob.from_dict(value | {"spec": value["spec"] | {"trainer": {"numNodes": "many"}}})


def test_ray_is_asked_for_one_nodes_devices() -> None:
    job = json.loads(ray(dataclasses.replace(LAUNCH, nodes=1)))
    assert job["entrypoint"] == (
        "isoflop train '/data/My Study_1' --quiet --sharded --ranks 8 && isoflop resume '/data/My Study_1' --quiet"
    )
    assert job["entrypoint_num_gpus"] == 8


def test_rays_own_model_takes_it() -> None:
    common = pytest.importorskip("ray.dashboard.modules.job.common")
    common.JobSubmitRequest(**json.loads(ray(LAUNCH)))


def test_every_cluster_has_a_writer() -> None:
    assert all(write(LAUNCH) for _, write in WRITERS.values())
