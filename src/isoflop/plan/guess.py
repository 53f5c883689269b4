"""The size a budget will probably want, before anything was trained: only used to centre the pilots."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.rules import batch_tokens

EXPONENT = 0.34
TOKENS_PER_PARAMETER = 12.0
"""Of matmul parameters, near the optimum (nanochat's log: 10-12 at 1e18 FLOPs; docs/log.md at 1e13-1e14)."""
REPEATED_HALF_LIFE = 15.4
"""Muennighoff et al. 2023 (arXiv 2305.16264): R_D*."""


@dataclass(frozen=True)
class Guess:
    """A size with what the budget would train it on."""

    config: ModelConfig
    tokens: float
    epochs: float


def effective_tokens(tokens: float, unique: float) -> float:
    """Distinct tokens worth as much as ``tokens`` of which ``unique`` differ (Muennighoff et al. 2023, eq. 5)."""
    if tokens <= unique:
        return tokens
    return unique * (1 + REPEATED_HALF_LIFE * (1 - math.exp(-(tokens / unique - 1) / REPEATED_HALF_LIFE)))


def tokens_in(
    throughput: Throughput, config: ModelConfig, *, context: int, seconds: float, speedup: float = 1.0
) -> float:
    """Tokens that ``seconds`` of training give this shape, its batch following from them."""
    tokens = 1e7
    for _ in range(12):
        batch = batch_tokens(tokens, context=context)
        step = throughput.step_seconds(config, batch_tokens=batch)
        tokens = math.sqrt(tokens * batch * seconds * speedup / step)  # damped: the batch moves the speed
    return max(tokens, float(context))


def guess_target(
    throughput: Throughput, shapes: tuple[ModelConfig, ...], *, context: int, seconds: float, unique_tokens: float
) -> Guess:
    """The shape that minimises a law with published exponents under the measured time model."""
    ratio = TOKENS_PER_PARAMETER**EXPONENT

    def loss(guess: Guess) -> float:
        size = count_parameters(guess.config).matmul
        return size**-EXPONENT + ratio * effective_tokens(guess.tokens, unique_tokens) ** -EXPONENT

    guesses = []
    for config in shapes:
        tokens = tokens_in(throughput, config, context=context, seconds=seconds)
        guesses.append(Guess(config, tokens, tokens / unique_tokens))
    return min(guesses, key=loss)
