"""Hyperparameters as functions of model size N and training tokens D, never of the sweep they are part of.

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
REFERENCE_RATE = 0.0075
"""Peak rate of the hidden matrices at 1e6 matmul parameters and a batch of 1024 tokens."""
WEIGHT_DECAY = 0.1
RATE_RATIOS: dict[OptimizerName, float] = {
    "muon": 1.0,
    "adamw": 0.5,
    "lion": 0.1,
    "schedule-free": 1.0,
    "lamb": 1.5,
    "sgd": 40.0,
}
"""Peak rates of the hidden matrices over Muon's, at equal (N, D)."""


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


def learning_rate(num_parameters: float, tokens: float) -> float:
    """Peak rate of the hidden matrices (Muon's update has AdamW's size, so the two share a scale).

    0.0075 sqrt(B / 1024) (N / 1e6)^-0.2 with B = Step Law's batch for D: the square root is AdamW's noise scaling
    (Malladi et al. 2022, arXiv 2205.10287), level and size exponent fit the brackets of docs/log.md (0.36-1.3 M
    parameters, 1-4 M tokens; the optimum is flat within a factor of 2). Step Law's own N^-0.713 is for AdamW alone.
    """
    return REFERENCE_RATE * math.sqrt(optimal_batch(tokens) / 1024) * (num_parameters / 1e6) ** -0.2


def recipe_for(
    num_parameters: float, tokens: float, *, context: int, unique_tokens: int, seed: int, method: Method = USUAL_METHOD
) -> Recipe:
    """The recipe of a run of N matmul parameters on D tokens, of which ``unique_tokens`` differ."""
    batch = batch_tokens(tokens, context=context)
    if method.optimizer == "schedule-free":
        method = replace(method, schedule="constant")
    return Recipe(
        **asdict(method),
        context=context,
        batch_tokens=batch,
        num_steps=max(1, math.floor(tokens / batch)),
        learning_rate=RATE_RATIOS[method.optimizer] * learning_rate(num_parameters, tokens),
        weight_decay=WEIGHT_DECAY,
        warmup_fraction=WARMUP_FRACTION,
        decay_fraction=0.0 if method.schedule == "constant" else DECAY_FRACTION,
        clip_norm=CLIP_NORM,
        seed=seed,
        unique_tokens=unique_tokens,
    )
