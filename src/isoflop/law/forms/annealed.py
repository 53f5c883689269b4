"""Annealed: one law for runs that decay their learning rate differently, or have not finished.

    loss = E + A / N^alpha + B / S^beta - C R,

where S is the area under the learning rate and R the annealing, both in tokens of the peak rate (Tissue et al. 2024,
arXiv 2408.11029, eq. 1, there for one N):

    S = sum_i lr_i / lr_peak,     R = sum_i sum_(j <= i) (lr_(j-1) - lr_j) / lr_peak lambda^(i - j).

A run at a constant rate has R = 0 and S = D; its decay trades area for annealing, and every point of a run's curve is a
row of the table. Columns ``area`` and ``annealing`` come from `areas`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import Chinchilla, power_starts, rescaled_pair

AREA, ANNEALING = "area", "annealing"
EXPONENTS = (0.15, 0.3, 0.45, 0.7)
GAIN = 0.05
"""Of the median loss that the deepest annealing may have taken off: a start."""
FORGETTING = 0.999
"""lambda a step (Tissue et al.: .99 to .999)."""

_PLAIN = Chinchilla()


class Annealed(Form):
    """Six parameters: Chinchilla's, D being the area, and C, nats a token of annealing."""

    name = "annealed"
    parameters = ("E", "A", "B", "alpha", "beta", "C")
    logarithmic = frozenset({"E", "A", "B", "C"})
    columns = (PARAMS, TOKENS, AREA, ANNEALING)
    centred = (PARAMS, AREA)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        (log_c,) = split(theta[..., 5:])
        before = _PLAIN.loss(theta[..., :5], {PARAMS: at[PARAMS], TOKENS: at[AREA]})
        with np.errstate(invalid="ignore", divide="ignore"):
            result: Array = np.log(before - np.exp(log_c) * at[ANNEALING])
        return result

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        gain = np.log(GAIN * np.median(loss) / max(float(at[ANNEALING].max()), 1e-300))
        return np.hstack([plain, np.full((len(plain), 1), gain)])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return rescaled_pair(theta, {PARAMS: units[PARAMS], TOKENS: units[AREA]})


def areas(rates: Array, tokens_per_step: float, *, forgetting: float = FORGETTING) -> tuple[Array, Array]:
    """(S, R) in tokens after each step of a run with these learning rates [steps].

    Raises ``ValueError`` for rates that are negative or all zero.
    """
    if rates.size == 0 or rates.min() < 0 or rates.max() <= 0:
        raise ValueError("learning rates must not be negative, nor all zero")
    share = rates / rates.max()
    falls = -np.diff(share, prepend=share[0])
    falls[: int(np.argmax(share)) + 1] = 0.0  # warmup is no negative annealing
    momentum, annealing = 0.0, np.empty_like(share)
    for i, fall in enumerate(falls):
        momentum = forgetting * momentum + fall
        annealing[i] = momentum
    return np.cumsum(share) * tokens_per_step, np.cumsum(annealing) * tokens_per_step
