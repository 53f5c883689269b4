"""A planned study's training as a job of a cluster: an sbatch script, a SkyPilot task, a Kubeflow TrainJob, a Ray job.

All do one thing: ``isoflop train`` in as many processes as there are devices, on a folder that all nodes see and that
outlives them, then ``isoflop resume`` in one. Whatever ends a process, the next attempt goes on from the last save.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isoflop.core.process import MAX_RESTARTS

STUDY = "/isoflop/study"
"""Where the study lies on machines that are rented."""
GRACE_SECONDS = 300
"""Before the end of its time a run is asked to save."""
PORT = 29_500


@dataclass(frozen=True)
class Launch:
    """What is to be started, and on what."""

    study: str
    """Its folder, absolute."""
    nodes: int
    devices: int
    """Of each node."""
    device: str
    """As clouds call it: H100."""
    hours: float
    """It may take at most."""
    options: tuple[str, ...] = ()
    """Of ``isoflop train``."""
    spot: bool = False
    max_hourly_cost: float | None = None
    image: str | None = None
    """A container with isoflop in it; Kubernetes needs one."""

    @property
    def name(self) -> str:
        """That any cluster takes: letters, digits and hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", f"isoflop-{self.study.rsplit('/', 1)[-1]}".lower()).strip("-")[:50].strip("-")

    def train(self, study: str) -> list[str]:
        return ["isoflop", "train", study, "--quiet", *self.options]

    def end(self, study: str) -> str:
        """For a shell: evaluates, exports and reports what was trained."""
        return shlex.join(["isoflop", "resume", study, "--quiet"])

    def end_on_first(self, rank: str) -> str:
        """The same on the node for which the variable ``rank`` is 0, of a study on rented machines."""
        return f'{{ [ "${rank}" != 0 ] || {self.end(STUDY)}; }}'


def slurm(launch: Launch) -> str:
    """An sbatch script: srun starts one task a device (`isoflop.train.srun`); asked to save, it queues anew."""
    minutes = math.ceil(60 * launch.hours)
    days, rest = divmod(minutes, 24 * 60)
    return f"""#!/bin/bash
#SBATCH --job-name={launch.name}
#SBATCH --nodes={launch.nodes}
#SBATCH --ntasks-per-node={launch.devices}
#SBATCH --gpus-per-node={launch.devices}
#SBATCH --time={days}-{rest // 60:02d}:{rest % 60:02d}:00
#SBATCH --signal=USR1@{GRACE_SECONDS}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={shlex.quote(launch.study + "/slurm-%j.out")}

srun --kill-on-bad-exit=1 {shlex.join(launch.train(launch.study))}
code=$?
if [ "$code" -eq 130 ]; then  # it was asked to stop and has saved
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
[ "$code" -eq 0 ] && {launch.end(launch.study)}
"""


def skypilot(launch: Launch) -> str:
    """A task file; `sky jobs launch` recovers it where spot machines are taken away."""
    resources: dict[str, Any] = {"accelerators": {launch.device: launch.devices}, "use_spot": launch.spot}
    if launch.max_hourly_cost is not None:
        resources["max_hourly_cost"] = launch.max_hourly_cost
    resources["job_recovery"] = {"strategy": "EAGER_NEXT_REGION", "max_restarts_on_errors": MAX_RESTARTS}
    torchrun = [
        "torchrun --nnodes=$SKYPILOT_NUM_NODES --node-rank=$SKYPILOT_NODE_RANK",
        "--nproc-per-node=$SKYPILOT_NUM_GPUS_PER_NODE",
        f'--master-addr="$(head -n1 <<< "$SKYPILOT_NODE_IPS")" --master-port={PORT}',
        f"-m {shlex.join(launch.train(STUDY))}",
        f"&& {launch.end_on_first('SKYPILOT_NODE_RANK')}",
    ]
    value = {
        "name": launch.name,
        "num_nodes": launch.nodes,
        "resources": resources,
        "file_mounts": {STUDY: {"name": launch.name, "source": launch.study, "mode": "MOUNT"}},
        "setup": "pip install 'isoflop[gpu]'\n",
        "run": " \\\n  ".join(torchrun) + "\n",
    }
    return as_yaml(value)


def kubernetes(launch: Launch) -> str:
    """A Kubeflow TrainJob (Trainer v2) on the runtime ``torch-distributed``, the study on a claim of the job's name."""
    volume = {"name": "study", "persistentVolumeClaim": {"claimName": launch.name}}
    container = {"name": "node", "volumeMounts": [{"name": "study", "mountPath": STUDY}]}
    # the shell is the container's first process: what asks it to stop would be lost on it
    script = f"""trap 'kill -TERM "$job"' TERM
torchrun -m {shlex.join(launch.train(STUDY))} &
job=$!
wait "$job"
code=$?
[ "$code" -ne 143 ] || {{ wait "$job"; code=$?; }}
[ "$code" -eq 0 ] || exit "$code"
{launch.end_on_first("PET_NODE_RANK")}
"""
    pod = {"spec": {"volumes": [volume], "containers": [container]}}
    job = {"name": "node", "template": {"spec": {"template": pod}}}
    value = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": launch.name},
        "spec": {
            "activeDeadlineSeconds": math.ceil(3600 * launch.hours),
            "runtimeRef": {"name": "torch-distributed"},
            "trainer": {
                "image": launch.image,
                "command": ["sh", "-c", script],
                "numNodes": launch.nodes,
                "numProcPerNode": launch.devices,
                "resourcesPerNode": {"limits": {"nvidia.com/gpu": str(launch.devices)}},
            },
            "runtimePatches": [
                {
                    "manager": "isoflop.dev/launch",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }
    return as_yaml(value)


def ray(launch: Launch) -> str:
    """What Ray's jobs API takes: one node, where isoflop is, on which it starts and restarts its processes itself."""
    train = shlex.join([*launch.train(launch.study), "--ranks", str(launch.devices)])
    value = {
        "entrypoint": f"{train} && {launch.end(launch.study)}",
        "entrypoint_num_gpus": launch.devices,
        "metadata": {"name": launch.name},  # an id could be given once, and a job that was stopped not launched again
    }
    return json.dumps(value, indent=2) + "\n"


WRITERS: dict[str, tuple[str, Callable[[Launch], str]]] = {
    "slurm": ("job.sbatch", slurm),
    "skypilot": ("sky.yaml", skypilot),
    "kubernetes": ("trainjob.yaml", kubernetes),
    "ray": ("ray-job.json", ray),
}
"""By cluster: the file's usual name and what writes it."""


def as_yaml(value: Mapping[str, Any]) -> str:
    """In the order given; strings of several lines as literals, as people write scripts."""
    import yaml

    def text(dumper: Any, data: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    dumper: Any = type("Dumper", (yaml.SafeDumper,), {})
    dumper.add_representer(str, text)
    return str(yaml.dump(dict(value), Dumper=dumper, sort_keys=False, allow_unicode=True))
