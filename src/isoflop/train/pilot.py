"""A pilot: one stable trunk of a size, with a decay branch at each token count the law should know.

A constant rate serves every horizon, so one trunk yields a point at D, 2D, 4D for little more than the longest alone
(Haegele et al. 2024, arXiv 2405.18392). Pilots run in worker processes of one thread each, or one after another in the
main process where that is faster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isoflop.core.errors import DivergedError
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.products import Recipe, Split
from isoflop.core.records import PilotFinished, Record, RunStarted
from isoflop.evaluate.score import Scores, bits_per_byte_of, score_documents
from isoflop.machine.measure import pick_device
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters, flops_per_token
from isoflop.text.prepare import load, open_documents, open_split
from isoflop.train.checkpoint import Snapshot, Store
from isoflop.train.meter import StepMeter
from isoflop.train.schedule import Anchor
from isoflop.train.trainer import DTYPES, Trainer

EVALUATION_BATCH_TOKENS = 4096
LATE = 1.2
"""A branch is cut short when its trunk runs this much slower than it was planned to."""
MIN_STEPS = 100


@dataclass(frozen=True)
class PilotJob:
    """What a worker needs to run a pilot; ``recipe.num_steps`` belongs to the longest branch a trunk of it can have."""

    run: str
    purpose: str
    model: dict[str, Any]
    recipe: Recipe
    branch_steps: list[int]
    seconds: float
    """Wall seconds the plan gave it."""
    dtype: str
    num_val_tokens: int
    corpus: Path
    folder: Path
    records: Path


def run_pilot(job: PilotJob, tick: Callable[[], None] = lambda: None) -> list[PilotFinished]:
    """Trains the trunk and its branches; returns (and records) one point a branch. Goes on where a kill left it.

    ``tick`` is called every two seconds or so of training. Raises `DivergedError`, the points until then recorded.
    """
    with closing(RecordLog(job.records)) as log:

        def write(record: Record) -> None:
            log.write(record)
            tick()

        return _run(job, write)


def _run(job: PilotJob, write: Callable[[Record], None]) -> list[PilotFinished]:
    started = time.monotonic()
    points = [
        stamped.record
        for stamped in read_records(job.records)
        if isinstance(stamped.record, PilotFinished) and stamped.record.run == job.run
    ]
    trainer = _build(job)
    store = Store(job.folder, keep=1)
    snapshot = store.latest()
    if snapshot is not None:
        trainer.restore(snapshot)
    write(run_started(job.run, "pilot", trainer, dtype=job.dtype, compiled=False))
    meter = StepMeter(write, job.run, trainer)
    for steps in job.branch_steps[len(points) :]:
        end = _affordable(steps, trainer, meter, left=job.seconds - (time.monotonic() - started))
        if end < steps and points and end <= trainer.num_done + MIN_STEPS:
            break  # too slow for another point
        snapshot = _branch(trainer, meter, end)
        points.append(_finished(job, trainer, seconds=time.monotonic() - started))
        if not math.isfinite(points[-1].loss):
            raise DivergedError("the run diverged: its validation loss is not finite", where=job.run)
        store.save(snapshot)  # before its point, which is nothing without; a kill between repeats the decay alone
        write(points[-1])
        trainer.restore(snapshot)
        meter.restart()  # validating and saving are no part of the next steps' pace
    return points


def _build(job: PilotJob) -> Trainer:
    shards = open_split(job.corpus, load(job.corpus).train)
    return Trainer(ModelConfig(**job.model), job.recipe, shards, dtype=job.dtype, device=str(pick_device()))


def _affordable(steps: int, trainer: Trainer, meter: StepMeter, *, left: float) -> int:
    """``steps``, or fewer where the machine is so much slower than planned that they would not fit."""
    before, started = trainer.num_done, time.monotonic()
    while trainer.num_done < min(before + MIN_STEPS // 2, round(steps * (1 - trainer.recipe.decay_fraction))):
        meter.add(trainer.step())
    num_timed = trainer.num_done - before
    if not num_timed:
        return steps
    possible = trainer.num_done + int(left * num_timed / (time.monotonic() - started))
    return steps if steps <= LATE * possible else max(possible, trainer.num_done + MIN_STEPS)


def _branch(trainer: Trainer, meter: StepMeter, end: int) -> Snapshot:
    """Goes on with the trunk to where the branch leaves it, then decays to ``end``; returns the state between."""
    decay = trainer.recipe.decay_fraction
    _steps_to(trainer, meter, round(end * (1 - decay)))
    snapshot = trainer.snapshot()
    trainer.anchor = Anchor(trainer.num_done, 1 - decay, end)
    _steps_to(trainer, meter, end)
    return snapshot


def _steps_to(trainer: Trainer, meter: StepMeter, end: int) -> None:
    while trainer.num_done < end:
        meter.add(trainer.step())
        if meter.due:
            meter.flush()
    meter.flush()


def validate(trainer: Trainer, corpus: Path, *, num_tokens: int | None, dtype: str) -> Scores:
    """Scores of validation documents: evenly spaced windows of them, ``num_tokens`` in all, or everything."""
    return score_split(trainer, corpus, load(corpus).val, num_tokens=num_tokens, dtype=dtype)


def score_split(trainer: Trainer, corpus: Path, split: Split, *, num_tokens: int | None, dtype: str) -> Scores:
    """Scores of a held-out split: evenly spaced windows, ``num_tokens`` in all, or everything."""
    with trainer.kept_model() as model:
        return score_documents(
            model,
            open_split(corpus, split)[0],
            open_documents(corpus, split),
            context=trainer.recipe.context,
            batch_tokens=EVALUATION_BATCH_TOKENS,
            dtype=DTYPES[dtype],
            max_tokens=num_tokens,
        )


def _finished(job: PilotJob, trainer: Trainer, *, seconds: float) -> PilotFinished:
    scores = validate(trainer, job.corpus, num_tokens=job.num_val_tokens, dtype=job.dtype)
    recipe, config = trainer.recipe, trainer.config
    return PilotFinished(
        run=job.run,
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_parameters=count_parameters(config).matmul,
        tokens=trainer.tokens_seen,
        unique_tokens=recipe.unique_tokens,
        flops=trainer.tokens_seen * flops_per_token(config, context=recipe.context),
        loss=scores.loss,
        bits_per_byte=bits_per_byte_of(scores),
        learning_rate=recipe.learning_rate,
        batch_tokens=recipe.batch_tokens,
        num_steps=trainer.num_done,
        seed=recipe.seed,
        purpose=job.purpose,
        seconds=seconds,
    )


def run_started(run: str, role: str, trainer: Trainer, *, dtype: str, compiled: bool) -> RunStarted:
    """The record that opens a run."""
    counts = count_parameters(trainer.config)
    return RunStarted(
        run=run,
        role=role,
        num_layers=trainer.config.num_hidden_layers,
        hidden_size=trainer.config.hidden_size,
        num_parameters_all=counts.all,
        num_parameters_non_embedding=counts.non_embedding,
        num_parameters_matmul=counts.matmul,
        batch_tokens=trainer.recipe.batch_tokens,
        num_steps=trainer.recipe.num_steps,
        learning_rate=trainer.recipe.learning_rate,
        seed=trainer.recipe.seed,
        num_threads=torch.get_num_threads(),
        dtype=dtype,
        compiled=compiled,
        from_step=trainer.num_done,
        num_processes=trainer.ranks.size if trainer.ranks else 1,
    )
