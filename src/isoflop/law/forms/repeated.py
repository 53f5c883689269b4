"""Repeated data: what D tokens are worth of which only U differ (Muennighoff et al. 2023, arXiv 2305.16264, eq. 5-7).

With U_D = min(U, D), R_D = D / U_D - 1, U_N = min(N, N_opt(U_D)) and R_N = N / U_N - 1, where N_opt(D) is the size
compute-optimal for D fresh tokens,

    D' = U_D (1 + R_D* (1 - exp(-R_D / R_D*))),    N' = U_N (1 + R_N* (1 - exp(-R_N / R_N*))),

and the loss is the base form's at N' and D'. Three members:

- ``muennighoff``: the paper's, on Chinchilla.
- ``repeated_chinchilla`` (ours): D' as in the paper; log N' moves from log N to the paper's log N' by the share
  s = 1 - exp(-R_D / R_D*) of repetition's worth already spent. With fresh data (D <= U) it is Chinchilla exactly, and
  no jump follows at the first repetition; the paper also discounts large models that see each token once. Refitted to
  its 182 runs by Hoffmann's objective, exponents free, it reaches .00633 against .00657 (139 runs up to 100 epochs:
  .00403 against .00415; 99 up to 20 epochs: .00185 against .00182), Chinchilla blind to U .00895.
- ``coupled`` (ours): the same on Skaling; the form of isoflop's own studies (docs/log.md).

N_opt(D) makes the two reducible terms' marginal gains equal under C = 6 N D: alpha (A / N^alpha)^p = beta (B /
D^beta)^p, hence N_opt = ((alpha / beta)^(1/p) A D^beta / B)^(1 / alpha); with p = 1 the paper's G (G D)^(beta / alpha)
with G = (alpha A / (beta B))^(1 / (alpha + beta)). Nothing depends on the units of N or of D and U: rescaling them
only rescales A and B.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, UNIQUE, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import Chinchilla
from isoflop.law.forms.skaling import Skaling

REPETITIONS = ((15.4, 5.3), (100.0, 2.0), (4.0, 20.0))
"""(R_D*, R_N*) tried as starts: the published pair, the lower optimum of the same runs (scaling.md sec. 0), another."""


class Repeated(Form):
    """``base`` (Chinchilla or Skaling) on repeated data; its parameters and R_D*, R_N*."""

    columns = (PARAMS, TOKENS, UNIQUE)

    def __init__(self, name: str, base: Chinchilla | Skaling, *, gated: bool) -> None:
        self.name, self.base, self.gated = name, base, gated
        self.parameters = (*base.parameters, "R_D*", "R_N*")
        self.logarithmic = base.logarithmic | {"R_D*", "R_N*"}

    def log_loss(self, theta: Array, at: Columns) -> Array:
        """Where theta makes no sense (an exponent below zero under repetition) the result is NaN."""
        seen, unique = at[TOKENS], at[UNIQUE]
        if self.gated and bool(np.all(seen <= unique)):
            log_size, log_tokens = np.log(at[PARAMS]), np.log(seen)
        else:
            log_size, log_tokens = self._effective(theta, at[PARAMS], seen, unique)
        return self.base.log_loss_at(theta[..., :-2], log_size, log_tokens)

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = self.base.starts(at, loss)
        return np.vstack([np.hstack([plain, np.tile(np.log(pair), (len(plain), 1))]) for pair in REPETITIONS])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return np.concatenate([self.base.rescaled(theta[..., :-2], units), theta[..., -2:]], axis=-1)

    def _effective(self, theta: Array, size: Array, seen: Array, unique: Array) -> tuple[Array, Array]:
        """(log N', log D'), each [..., n]; see the module's text."""
        _, log_a, log_b, alpha, beta, *log_p, log_rd, log_rn = split(theta)
        inverse_p = np.exp(-log_p[0]) if log_p else 1.0  # Chinchilla has no p
        fresh = np.minimum(unique, seen)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            log_tokens, spent = _saturated(np.log(fresh), seen / fresh - 1.0, np.exp(log_rd))
            log_optimal = (np.log(alpha / beta) * inverse_p + log_a - log_b + beta * np.log(fresh)) / alpha
            log_base = np.minimum(np.log(size), log_optimal)
            log_size, _ = _saturated(log_base, np.expm1(np.log(size) - log_base), np.exp(log_rn))
        return np.log(size) + (spent if self.gated else 1.0) * (log_size - np.log(size)), log_tokens


def _saturated(log_base: Array, repeats: Array, scale: Array) -> tuple[Array, Array]:
    """(log of base (1 + scale s), s) with s = 1 - exp(-repeats / scale)."""
    spent = -np.expm1(-repeats / scale)
    return log_base + np.log1p(scale * spent), spent
