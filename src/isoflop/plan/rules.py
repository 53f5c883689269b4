"""Hyperparameters as functions of the tokens D that a run trains on, never of the sweep it is part of.

A rule that depends on the sweep (its budget, its reference run) bends both arms of an IsoFLOP curve and moves
its minimum; see docs/architecture.md. Constants are set by the experiments in docs/log.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from isoflop.core.products import USUAL_METHOD, Method, OptimizerName, Recipe

WARMUP_FRACTION = 0.02
DECAY_FRACTION = 0.4
CLIP_NORM = 1.0
MIN_BATCH_TOKENS = 512
REFERENCE_RATE = 0.0064
"""Peak rate of the hidden matrices at 1,024 tokens a step and the width of reference (`train.optimizers`)."""
WEIGHT_DECAY = 0.1
RATE_RATIOS: dict[OptimizerName, float] = {
    "muon": 1.0,
    "adamw": 0.5,
    "lion": 0.13,
    "schedule-free": 0.8,
    "lamb": 2.2,
    "sgd": 70.0,
}
"""Peak rates at the width of reference over Muon's; LAMB's and SGD's, set at half that width, are those of any."""


def context_for(flops: float) -> int:
    """Sequence length, in tokens: longer text only pays once the model can use it (assumption, coarse steps)."""
    for context, below in ((256, 1e16), (512, 1e18), (1024, 1e20)):
        if flops < below:
            return context
    return 2048


def batch_tokens(tokens: float, *, context: int) -> int:
    """Step Law's optimum 0.58 D^0.571 (Li et al. 2025, arXiv 2503.04715), in whole sequences.

    Fitted at 1e9-1e11 tokens; that it holds down to 1e6 was checked here (docs/log.md).
    """
    return context * max(1, round(optimal_batch(tokens) / context))


def optimal_batch(tokens: float) -> float:
    """Step Law's batch in tokens, before it is cut into sequences."""
    return max(MIN_BATCH_TOKENS, 0.58 * tokens**0.571)


def learning_rate(batch: int) -> float:
    """Peak rate of the hidden matrices at the width of reference, which `train.optimizers` scales to others.

    0.0064 (B / 1024)^0.3 is within 45 % of the optimum in eleven brackets of 32 to 512 units, 0.25 to 6 M tokens and
    512 to 4,352 tokens a step (docs/log.md, 58); with the batch that goes with D, it is D^0.17.
    """
    return REFERENCE_RATE * (batch / 1024) ** 0.3


def recipe_for(
    tokens: float, *, context: int, unique_tokens: int, seed: int, method: Method = USUAL_METHOD, ranks: int = 1
) -> Recipe:
    """The recipe of a run on D tokens, of which ``unique_tokens`` differ; of whatever width (`train.optimizers`). Of
    several ``ranks`` each has as many sequences: the others would wait for one that has more."""
    batch = batch_tokens(tokens, context=ranks * context)
    if method.optimizer == "schedule-free":
        method = replace(method, schedule="constant")
    return Recipe(
        **asdict(method),
        context=context,
        batch_tokens=batch,
        num_steps=max(1, math.floor(tokens / batch)),
        learning_rate=RATE_RATIOS[method.optimizer] * learning_rate(batch),
        weight_decay=WEIGHT_DECAY,
        warmup_fraction=WARMUP_FRACTION,
        decay_fraction=0.0 if method.schedule == "constant" else DECAY_FRACTION,
        clip_norm=CLIP_NORM,
        seed=seed,
        unique_tokens=unique_tokens,
    )
