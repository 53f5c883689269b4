"""How many words a vocabulary should have: the one whose best model within the budget is predicted to be the best.

A larger vocabulary cuts text into fewer tokens, so that the same model reads more of it; but its head takes more of
every step. The law's prior, which knows of vocabularies (`law/prior.py`), says what each size reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.prior import Prior, rises
from isoflop.model.count import count_parameters, flops_per_token
from isoflop.plan.rules import context_for
from isoflop.plan.shapes import ladder
from isoflop.text.vocabulary import Cut

WORTH = 0.015
"""Relative: a larger vocabulary is taken where it promises more than this, what a forecast may be off by (1 sd,
docs/log.md, 35). It costs memory, and the time of whoever uses the model."""
HEAD_COST = 1.3
"""Time of a FLOP of the head over that of one elsewhere: 1.2 to 1.4 by the time models of four studies."""


@dataclass(frozen=True)
class Choice:
    """A vocabulary, and what each is predicted to reach."""

    vocab_size: int
    bits_per_byte: dict[int, float]

    @property
    def rule(self) -> str:
        """The choice in words."""
        told = ", ".join(f"{size:,} {bits:.3f}" for size, bits in self.bits_per_byte.items())
        return f"smallest within {WORTH:.1%} of the least bits per byte predicted ({told})"


def choose(cuts: Sequence[Cut], *, flops: float, num_bytes: float) -> Choice:
    """For so many FLOPs of training on a text of ``num_bytes``; the first of its ``cuts`` is the measured one."""
    predicted = {cut.vocab_size: predicted_bits(cut, cuts[0], flops=flops, num_bytes=num_bytes) for cut in cuts}
    least = min(predicted.values())
    return Choice(min(size for size, bits in predicted.items() if bits <= (1 + WORTH) * least), predicted)


def predicted_bits(cut: Cut, measured: Cut, *, flops: float, num_bytes: float) -> float:
    """Bits per byte of the best size of the ladder."""
    context = context_for(flops)
    shapes = ladder(cut.vocab_size, context)
    sizes = np.array([float(count_parameters(config).matmul) for config in shapes])
    heads = np.array([6.0 * config.vocab_size * config.hidden_size for config in shapes])
    costs = np.array([flops_per_token(config, context=context) for config in shapes]) + (HEAD_COST - 1) * heads
    tokens = flops / costs
    unique = np.full(len(shapes), num_bytes * cut.tokens_per_byte)
    added = floor_rise(cut, measured), rises(cut.vocab_size)[1]
    prior = Prior.measured(cut.unigram_nats, rises=added)
    losses = prior.losses({PARAMS: sizes, TOKENS: tokens, UNIQUE: unique})
    return float(losses.min()) * cut.tokens_per_byte / math.log(2)


def floor_rise(cut: Cut, measured: Cut) -> float:
    """What the cut adds to the logarithm of the floor: that costs a text as many nats a byte however it is cut."""
    return math.log(measured.tokens_per_byte * measured.unigram_nats / (cut.tokens_per_byte * cut.unigram_nats))
