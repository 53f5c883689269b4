"""How fast several processes take a step together, timed as they will be started: before anybody plans on it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from isoflop.core import codec
from isoflop.core.errors import IsoflopError, StudyError
from isoflop.core.files import read_json, write_json
from isoflop.core.process import PARENT, die_with_parent
from isoflop.core.products import Recipe, StepTiming
from isoflop.machine.measure import pick_device, time_steps, timing_trainer
from isoflop.model.config import ModelConfig
from isoflop.train.ranks import Ranks
from isoflop.train.supervise import ASKED_CODE, supervise

JOB, TIMING = "job.json", "timing.json"


@dataclass(frozen=True)
class _Job:
    """What the processes are told."""

    model: dict[str, Any]
    recipe: Recipe
    dtype: str
    compiled: bool
    sharded: bool
    seconds: float


def time_together(
    config: ModelConfig,
    recipe: Recipe,
    *,
    dtype: str,
    seconds: float,
    size: int,
    compiled: bool = False,
    sharded: bool = False,
) -> tuple[StepTiming, float]:
    """As `isoflop.machine.measure.time_steps`, by ``size`` processes that divide every batch, and the model, if it is
    ``sharded``; and the seconds that starting and ending them took.

    Raises `StudyError` where they cannot, `KeyboardInterrupt` where they were asked to stop.
    """
    with tempfile.TemporaryDirectory(prefix="isoflop-") as folder:
        write_json(Path(folder) / JOB, codec.encode(_Job(asdict(config), recipe, dtype, compiled, sharded, seconds)))
        command = [sys.executable, "-P", "-m", __name__, folder]
        started = time.monotonic()
        code = supervise(command, size=size, max_restarts=0, restarting=lambda attempt, code: None)
        if code == ASKED_CODE:
            raise KeyboardInterrupt
        if code:
            what, remedy = f"{size} processes cannot train together here (exit code {code})", "Start with --ranks 1"
            raise StudyError(what, where="--ranks", remedy=remedy)
        told = read_json(Path(folder) / TIMING)
        overhead = time.monotonic() - started - told.pop("measured_seconds")
        return codec.decode(StepTiming, told, where=TIMING), overhead


def _be_one(folder: Path) -> None:
    """One of the processes: the first times, the others follow."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's reaches the parent, which ends us
    die_with_parent(int(os.environ[PARENT]))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = pick_device()
    job: _Job = codec.decode(_Job, read_json(folder / JOB), where=JOB)
    config, ranks = ModelConfig(**job.model), Ranks.from_environment(device)
    assert ranks is not None, "started as one of several"
    options: dict[str, Any] = {"dtype": job.dtype, "device": device, "compiled": job.compiled}
    options |= {"ranks": ranks, "sharded": job.sharded}
    if not ranks.leads:
        ranks.follow(timing_trainer(config, job.recipe, **options))
        return
    started = time.monotonic()
    timing = time_steps(config, job.recipe, seconds=job.seconds, **options)
    measured = {"measured_seconds": time.monotonic() - started}
    ranks.end()
    write_json(folder / TIMING, codec.encode(timing) | measured)


if __name__ == "__main__":
    try:
        _be_one(Path(sys.argv[1]))
    except IsoflopError as error:
        print(f"isoflop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
