"""What `isoflop launch` does; imported only by the verb that is called."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from isoflop.core.errors import BudgetError, IsoflopError
from isoflop.core.extras import needs
from isoflop.core.files import write_text
from isoflop.core.products import Plan
from isoflop.estimate.devices import find_device, names
from isoflop.estimate.estimate import COUNTS, Terms, affordable
from isoflop.estimate.parallel import Training
from isoflop.estimate.shapes import Shape
from isoflop.fleet.launch import WRITERS, Launch
from isoflop.study import Study
from isoflop.train.layout import Layout, planned_layout, require_layout

USUAL_NODE = 8
"""Devices."""
SLACK = 2.0
"""Times the planned training that a job may take where nobody says: starting, validating, queueing anew."""
RAY_ADDRESS = "http://127.0.0.1:8265"
HINTS = {"skypilot": "sky jobs launch {}", "kubernetes": "kubectl apply -f {}"}


def launch(
    folder: Path,
    *,
    on: str,
    nodes: int | None,
    devices: int | None,
    device: str | None,
    hours: float | None,
    layout: Layout | None,
    spot: bool,
    max_hourly_cost: float | None,
    image: str | None,
    out: Path | None,
    submit: bool,
) -> dict[str, Any]:
    """Writes the job file of a planned study, and with ``submit`` gives it to Slurm or Ray.

    Machines that nobody names are the cheapest that do the plan in its time.

    Raises `StudyError` where there is no plan or it cannot be divided so, `BudgetError` where no device would do,
    `IsoflopError` where a cluster cannot be reached.
    """
    study = Study(folder)
    _, plan = study.given, study.plan  # refuses what is no study, or is not planned yet
    if submit and on in HINTS:
        raise IsoflopError(f"{on} is not submitted to from here", where="--submit", remedy="Leave it out")
    if on == "kubernetes" and image is None:
        raise IsoflopError("a container of what?", where="--image", remedy="Name an image with isoflop in it")
    if on == "ray" and nodes is None:
        nodes = 1
    nodes, devices, device = _machines(plan, nodes, devices, device, hours, spot=spot)
    if on == "ray" and nodes > 1:
        raise IsoflopError("Ray starts one node", where="--nodes", remedy="Take --on slurm, skypilot or kubernetes")
    require_layout(plan, layout or planned_layout(plan, size=nodes * devices), size=nodes * devices)
    usual, write = WRITERS[on]
    job = Launch(
        study=str(folder.resolve()),
        nodes=nodes,
        devices=devices,
        device=device,
        hours=hours if hours is not None else max(1.0, SLACK * plan.training_seconds / 3600),
        options=tuple(layout.options) if layout else (),
        spot=spot,
        max_hourly_cost=max_hourly_cost,
        image=image,
    )
    path = out or folder / usual
    write_text(path, write(job))
    answer = {"file": str(path), "on": on, "device": job.device, "devices": nodes * devices, "hours": job.hours}
    if submit:
        return answer | {"job": _sbatch(path) if on == "slurm" else _ray_job(path)}
    hints = HINTS | {"slurm": "sbatch {}", "ray": f"isoflop launch {folder} --on ray --submit"}
    return answer | {"submit": hints[on].format(path)}


def _machines(
    plan: Plan, nodes: int | None, devices: int | None, device: str | None, hours: float | None, *, spot: bool
) -> tuple[int, int, str]:
    """How many nodes, how many devices in each, and which: what nobody named is as the cheapest has it that does the
    plan in time."""
    if nodes and devices and device:
        return nodes, devices, find_device(device).name
    hours = hours or max(1.0, plan.training_seconds / 3600)
    shape = Shape(**plan.model)
    training = Training(shape, max(1, plan.recipe.batch_tokens // plan.recipe.context), plan.recipe.context)
    pool = [find_device(name) for name in ([device] if device else names())]
    if not device:
        pool = [known for known in pool if known.dollars_per_hour is not None]
    counts = [nodes * devices] if nodes and devices else _counts(nodes, devices)
    try:
        found = affordable(training, plan.tokens, pool, Terms(0.0, spot=spot), hours=hours, counts=counts)[0]
    except BudgetError as error:
        remedy = "Name --device, --nodes and --devices, or give it more --hours"
        raise BudgetError(f"nothing known would do this plan in {hours:.3g} hours", remedy=remedy) from error
    each = devices or (found.num_devices // nodes if nodes else min(found.num_devices, USUAL_NODE))
    return found.num_devices // each, each, found.device.name


def _counts(nodes: int | None, devices: int | None) -> list[int]:
    """Numbers of devices to try: whole nodes of so many, or so many nodes of up to eight, or any power of two."""
    if devices:
        return [devices * count for count in COUNTS]
    if nodes:
        return [nodes * count for count in COUNTS if count <= USUAL_NODE]
    return list(COUNTS)


def _sbatch(path: Path) -> str:
    """The job's number."""
    program = shutil.which("sbatch")
    if program is None:
        raise IsoflopError("there is no sbatch here", where="--submit", remedy=f"On a login node: sbatch {path}")
    done = subprocess.run([program, "--parsable", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise IsoflopError(f"sbatch refused it ({done.stderr.strip()})", where=str(path), remedy="Mend the file")
    return done.stdout.strip().split(";")[0]


def _ray_job(path: Path) -> str:
    with needs("ray"):
        from ray.job_submission import JobSubmissionClient
    try:
        return str(JobSubmissionClient(RAY_ADDRESS).submit_job(**json.loads(path.read_text())))
    except ConnectionError as error:
        what, remedy = f"Ray does not answer ({error})", "Start it: ray start --head, or set RAY_API_SERVER_ADDRESS"
        raise IsoflopError(what, where=RAY_ADDRESS, remedy=remedy) from error
    except RuntimeError as error:
        raise IsoflopError(f"Ray refused it ({error})", where=str(path), remedy="Mend the file") from error


def launch_lines(answer: dict[str, Any]) -> str:
    """For a person."""
    lines = [f"{answer['file']}: {answer['devices']} x {answer['device']}, {answer['hours']:.3g} hours at most"]
    lines.append(f"submitted as {answer['job']}" if "job" in answer else f"submit it with: {answer['submit']}")
    return "\n".join(lines)
