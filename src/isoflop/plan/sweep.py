"""Runs of given sizes and lengths on one corpus: what a law is fitted to where nobody wants to leave the choice to us.

A size is one trunk with a decay branch for each number of tokens (train/pilot.py); batch and rate are those of the
rules for the middle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from isoflop.core.errors import BudgetError
from isoflop.core.products import CorpusManifest
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.train.pilot import MIN_STEPS, PilotJob

RECORDS = "records.jsonl"
UNHURRIED = 1e9
"""Seconds a run may take: no budget cuts it short."""


@dataclass(frozen=True)
class Sweep:
    """What is asked for."""

    corpus: Path
    folder: Path
    widths: Sequence[int]
    tokens: Sequence[float]
    """Of each branch, ascending."""
    seeds: Sequence[int]
    context: int
    dtype: str
    rate_factor: float
    """On the rule's learning rate."""
    num_val_tokens: int


def jobs_of(sweep: Sweep, manifest: CorpusManifest) -> list[PilotJob]:
    """A job for each width and seed, the longest first.

    Raises `BudgetError` for a branch of fewer steps than tell anything.
    """
    jobs = [_job(sweep, manifest, width, seed) for width in sweep.widths for seed in sweep.seeds]
    return sorted(jobs, key=lambda job: -job.model["hidden_size"])


def _job(sweep: Sweep, manifest: CorpusManifest, width: int, seed: int) -> PilotJob:
    config = shape(width, vocab_size=manifest.vocab_size, context=sweep.context)
    recipe = recipe_for(
        sweep.tokens[len(sweep.tokens) // 2],
        context=sweep.context,
        unique_tokens=manifest.train.num_tokens,
        seed=seed,
    )
    steps = sorted({round(tokens / recipe.batch_tokens) for tokens in sweep.tokens})
    if steps[0] < MIN_STEPS:
        what = f"{sweep.tokens[0]:g} tokens are {steps[0]} steps of {recipe.batch_tokens:,} tokens"
        raise BudgetError(what, where="--tokens", remedy=f"Give each run {MIN_STEPS * recipe.batch_tokens:,} or more")
    run = f"w{width}-s{seed}"
    folder = sweep.folder / "runs" / run
    return PilotJob(
        run=run,
        purpose="grid",
        model=asdict(config),
        recipe=replace(recipe, learning_rate=sweep.rate_factor * recipe.learning_rate, num_steps=steps[-1]),
        branch_steps=steps,
        seconds=UNHURRIED,
        dtype=sweep.dtype,
        num_val_tokens=sweep.num_val_tokens,
        corpus=sweep.corpus,
        folder=folder,
        records=folder / RECORDS,
    )
