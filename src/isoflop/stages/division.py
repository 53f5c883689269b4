"""How a study's seconds are divided among its stages, and budgets that leave none for training."""

from __future__ import annotations

from isoflop.core.budget import format_seconds
from isoflop.core.errors import BudgetError
from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.plan.guess import LEAST_SEQUENCES
from isoflop.plan.rules import optimal_batch
from isoflop.study import Study

MIN_BUDGET_SECONDS = 60.0
PILOT_SHARE = 0.082
"""Share of the budget that the pilots take; with law and plan it stays below a tenth."""
MOST_BEFORE_PILOTS = 0.5
PLANNING_SHARE = 0.15
"""Of the budget, that pilots, law and plan take of one that is small: what they start takes seconds too."""
WORTHWHILE_TRAINING_SHARE = 0.33
"""Of the budget: with so much for training it works."""
CLOSING_SECONDS = 2.6
"""Samples, export, report and the end of the process (docs/log.md)."""
XZ_BYTES_PER_SECOND = 1.5e6
SCORING_TOKENS = 8192
"""Of a forward pass over the test documents, so about what the update of a step does not count beside."""


def require_budget(seconds: float) -> None:
    """Raises `BudgetError` for a budget that buys nothing on any machine."""
    if seconds < MIN_BUDGET_SECONDS:
        raise BudgetError(
            f"{format_seconds(seconds)} is too small a budget to do anything",
            remedy=f"The smallest that works is {format_seconds(MIN_BUDGET_SECONDS)}",
        )


def require_time(*, budget: float, spent: float, closing: float, least: float) -> None:
    """Raises `BudgetError` for one of which reading and measuring ``spent`` too much, or which leaves less than the
    ``least`` training beside what scoring and the other ``closing`` stages will take; all in seconds."""
    left = budget * (1 - PLANNING_SHARE) - spent - closing
    if spent > MOST_BEFORE_PILOTS * budget:
        what = f"reading and measuring took {format_seconds(spent)}, {spent / budget:.0%} of the budget"
    elif left < least:
        what = (
            f"reading and measuring took {format_seconds(spent)} and scoring this text will take "
            f"{format_seconds(closing)}: {format_seconds(max(left, 0.0))} would be left for training, and the "
            f"smallest model wants {format_seconds(least)}"
        )
    else:
        return
    works = max(
        2 * spent + MIN_BUDGET_SECONDS,
        (spent + closing) / (1 - PLANNING_SHARE - WORTHWHILE_TRAINING_SHARE),
        (spent + closing + least) / (1 - PLANNING_SHARE),
    )
    raise BudgetError(what, remedy=f"The smallest budget that works for this text is about {format_seconds(works)}")


def least_training(throughput: Throughput, config: ModelConfig, *, context: int) -> float:
    """Seconds of `LEAST_SEQUENCES` of ``config``."""
    tokens = float(LEAST_SEQUENCES * context)
    batch = optimal_batch(tokens)
    return tokens / batch * throughput.step_seconds(config, batch_tokens=batch)


def closing_seconds(study: Study, *, tokens_per_second: float) -> float:
    """Expected seconds of evaluation, export and report for a model that one process trains at ``tokens_per_second``;
    and of starting several, where they train together.

    A forward pass takes some 0.4 of a training step.
    """
    starting = float(study.decided("ranks_start_seconds") or 0.0)
    test = study.manifest.test
    return (
        CLOSING_SECONDS + starting + test.num_tokens / (2.5 * tokens_per_second) + test.num_bytes / XZ_BYTES_PER_SECOND
    )


def closing_of(study: Study, throughput: Throughput, config: ModelConfig) -> float:
    """The same before anything of this shape was timed."""
    rate = SCORING_TOKENS / throughput.step_seconds(config, batch_tokens=SCORING_TOKENS)
    return closing_seconds(study, tokens_per_second=rate)
