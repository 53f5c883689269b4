"""The size a budget will probably want, before anything was trained: to centre the pilots, and to reserve time by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.prior import Prior
from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.rules import optimal_batch

UNIGRAM_NATS = 6.5
"""Typical of byte-level BPE text with some thousand tokens; the best size hardly depends on it."""
LEAST_SEQUENCES = 1000
"""What a shape has to be given to be considered."""


@dataclass(frozen=True)
class Guess:
    """A size with what the budget would train it on."""

    config: ModelConfig
    tokens: float
    epochs: float


def tokens_in(
    throughput: Throughput, config: ModelConfig, *, context: int, seconds: float, speedup: float = 1.0
) -> float:
    """Tokens that ``seconds`` of training give this shape, its batch following from them; one sequence at least.

    With Step Law's batch before it is cut into sequences: time then grows smoothly with tokens, and sizes compare.
    """
    tokens, seconds = 1e7, max(seconds, 0.0)
    for _ in range(30):  # contracts by .57 at least: batches grow as D^.571, larger ones are no slower a token
        batch = max(optimal_batch(tokens), context)
        step = throughput.step_seconds(config, batch_tokens=batch)
        tokens = batch * seconds * speedup / step
    return max(tokens, float(context))


def guess_target(
    throughput: Throughput,
    shapes: tuple[ModelConfig, ...],
    *,
    context: int,
    seconds: float,
    unique_tokens: float,
    speedup: float = 1.0,
    closing: Callable[[ModelConfig], float] = lambda config: 0.0,
) -> Guess:
    """The shape that minimises the law's prior under the measured time model, at ``speedup`` times its speed; of those
    that ``seconds`` allow `LEAST_SEQUENCES`, or the smallest. ``closing`` are those that a model takes after training.
    """
    prior = Prior.measured(UNIGRAM_NATS)

    def loss(guess: Guess) -> float:
        where = (float(count_parameters(guess.config).matmul), guess.tokens, unique_tokens)
        at = {name: np.array([value]) for name, value in zip((PARAMS, TOKENS, UNIQUE), where, strict=True)}
        return float(prior.losses(at)[0])

    guesses = list[Guess]()
    for config in shapes:
        tokens = tokens_in(throughput, config, context=context, seconds=seconds - closing(config), speedup=speedup)
        if guesses and tokens < LEAST_SEQUENCES * context:
            break  # larger ones get fewer still
        guesses.append(Guess(config, tokens, tokens / unique_tokens))
    return min(guesses, key=loss)
