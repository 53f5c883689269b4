"""Tuned: Skaling at the best learning rate and batch, and what straying from them costs.

    log loss = log Skaling(N, D) + c_l g(k x) + c_b y^2,     g(z) = 2 (exp z - 1 - z) / k^2
    x = log (lr / lr*) - nu y,      lr* = R N^r D^s,      y = log (batch / batch*),      batch* = S N^t D^u

lr* and batch* are power laws of N and D (Step Law, arXiv 2503.04715, finds t = 0); away from batch* the best rate
moves with batch^nu. g is x^2 near the best, and steeper above than below it for k > 0: too high a rate diverges, too
low a one only learns slowly. Penalties multiply the loss, so that one curvature serves small and large models.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import BATCH, LEARNING_RATE, PARAMS, TOKENS, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import power_starts, rescaled_pair
from isoflop.law.forms.skaling import coupled_log_loss

EXPONENTS = (0.15, 0.35)
COUPLINGS = (1.0, 2.0)
RATES = (0.0, -0.4, 0.2)
"""log R in the middle of the rates tried, r, s: larger models want smaller rates, longer runs larger ones."""
BATCHES = (0.0, 0.0, 0.4)
"""log S in the middle of the batches tried, t, u."""
PENALTIES = (np.log(0.01), np.log(0.005), 0.3, 0.5)
"""log c_l, log c_b, nu, k."""
SPREAD = (1.0, 0.3, 0.3, 1.0, 0.3, 0.3, 0.7, 0.7, 0.3, 0.4)
"""How far the ten may be from that before any run is done."""


class Tuned(Form):
    """Sixteen parameters; ``learning_rate`` and ``batch`` (in tokens, or in sequences of one length) are columns."""

    name = "tuned"
    parameters = (
        "E", "A", "B", "alpha", "beta", "p",
        "R", "r", "s", "S", "t", "u", "c_l", "c_b", "nu", "k",
    )  # fmt: skip
    logarithmic = frozenset({"E", "A", "B", "p", "R", "S", "c_l", "c_b"})
    columns = (PARAMS, TOKENS, LEARNING_RATE, BATCH)
    centred = columns

    @property
    def must_be_told(self) -> tuple[str, ...]:
        """A run of which no more is said is a tuned one."""
        return ()

    def log_loss(self, theta: Array, at: Columns) -> Array:
        log_size, log_tokens = np.log(at[PARAMS]), np.log(at[TOKENS])
        if LEARNING_RATE not in at:  # asked for a run that is tuned
            return coupled_log_loss(theta[..., :6], log_size, log_tokens)
        log_rate, log_batch = self.log_best(theta, log_size, log_tokens)
        log_cl, log_cb, nu, k = split(theta[..., 12:])
        off_batch = np.log(at[BATCH]) - log_batch
        off_rate = np.log(at[LEARNING_RATE]) - log_rate - nu * off_batch
        penalty = np.exp(log_cl) * _lopsided(off_rate, k) + np.exp(log_cb) * off_batch**2
        return coupled_log_loss(theta[..., :6], log_size, log_tokens) + penalty

    @staticmethod
    def log_best(theta: Array, log_size: Array, log_tokens: Array) -> tuple[Array, Array]:
        """Logs of the best learning rate and batch, [..., n] each, in the columns' units."""
        rate, batch = split(theta[..., 6:9]), split(theta[..., 9:12])
        log_rate, log_batch = (level + n * log_size + d * log_tokens for level, n, d in (rate, batch))
        return log_rate, log_batch

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        rest = [np.tile((np.log(p), *RATES, *BATCHES, *PENALTIES), (len(plain), 1)) for p in COUPLINGS]
        return np.vstack([np.hstack([plain, each]) for each in rest])

    def spread(self, starts: Array) -> Array:
        result: Array = np.concatenate([super().spread(starts)[:6], SPREAD])
        return result

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        result = rescaled_pair(theta, units)
        logs = np.log([units[PARAMS], units[TOKENS]])
        for first, column in ((6, LEARNING_RATE), (9, BATCH)):
            result[..., first] += np.log(units[column]) - theta[..., first + 1 : first + 3] @ logs
        return result


def _lopsided(off: Array, k: Array) -> Array:
    """2 (exp(k off) - 1 - k off) / k^2: off^2 at k = 0."""
    z = np.where(np.abs(k) < 1e-4, 1e-4, k) * off
    with np.errstate(over="ignore"):
        result: Array = (
            2 * off**2 * np.where(np.abs(z) < 1e-3, 0.5 + z / 6, (np.expm1(z) - z) / np.where(z == 0, 1.0, z) ** 2)
        )
    return result
