"""A Slurm of this machine alone, from Debian's slurm-wlm: its daemons on ports of the loopback, for a while."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = " and ".join(name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name) is None)
"""What of it is not installed."""
GPUS = "/dev/null", "/dev/zero"
"""What its one node says are such."""
_PATIENCE = 30.0
_CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
MinJobAge=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm_here(folder: Path) -> Iterator[dict[str, str]]:
    """The variables by which sbatch and the like find it. No accounting, as on many small clusters; what has ended is
    forgotten after seconds."""
    host, (controller, daemon) = socket.gethostname(), _free_ports(2)
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    user, cpus = Path.home().owner(), os.cpu_count()
    config.write_text(_CONFIG.format(**locals(), gpus=len(GPUS)))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in GPUS))
    variables = {"SLURM_CONF": str(config)}
    daemons = [_daemon(name, folder, os.environ | variables) for name in ("slurmctld", "slurmd")]
    try:
        _wait_until_idle(os.environ | variables, folder)
        yield variables
    finally:
        for process in reversed(daemons):
            process.terminate()
            process.wait()


def _daemon(name: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen([name, "-D"], stdout=log, stderr=log, env=environment)


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while _said(["sinfo", "--noheader", "--format=%T"], environment) != "idle":
        assert time.monotonic() < end, (folder / "slurmctld.log").read_text()
        time.sleep(0.2)


def _said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
