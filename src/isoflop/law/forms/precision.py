"""Precision: Chinchilla with fewer effective parameters at fewer bits, and what rounding a finished model costs.

Kumar et al. 2024, arXiv 2411.04330, eq. 3 and 9:

    loss = E + A / N_eff^alpha + B / D^beta,     N_eff = N prod_x (1 - exp(-P_x / gamma_x))          (``precision``)
    loss = that + C D^delta / N^eps exp(-P / gamma_P)                                                 (``rounded``)

P_x are bits of weights, activations and attention's keys and values while training (``weight_bits`` and so on), P
those that the weights are rounded to afterwards (``rounded_bits``). Rounding hurts more the longer a model was trained.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import Chinchilla, power_starts, rescaled_pair

BITS = ("weight_bits", "activation_bits", "cache_bits")
ROUNDED = "rounded_bits"
EXPONENTS = (0.15, 0.3, 0.45)
PUBLISHED = (2.6745, 2.2102, 0.9578)
"""gamma_w, gamma_a, gamma_kv (scaling.md sec. 3)."""
ROUNDING = (-4.0, 0.5, 0.5, 0.5)
"""log of C at the centre and 6 bits as a share of the loss, delta, eps, log gamma_P: starts."""

_PLAIN = Chinchilla()


class Precision(Form):
    """Eight parameters: Chinchilla's and three sensitivities in bits."""

    name = "precision"
    parameters = ("E", "A", "B", "alpha", "beta", "gamma_w", "gamma_a", "gamma_kv")
    logarithmic = frozenset({"E", "A", "B", "gamma_w", "gamma_a", "gamma_kv"})
    columns = (PARAMS, TOKENS, *BITS)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        gammas = np.exp(split(theta[..., 5:]))
        kept = [np.log(-np.expm1(-at[name] / gamma)) for name, gamma in zip(BITS, gammas, strict=True)]
        return _PLAIN.log_loss_at(theta[..., :5], np.log(at[PARAMS]) + sum(kept), np.log(at[TOKENS]))

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        return np.hstack([plain, np.tile(np.log(PUBLISHED), (len(plain), 1))])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return rescaled_pair(theta, units)


class Rounded(Form):
    """Nine parameters: Chinchilla's, and of the loss that rounding adds its level, two exponents and decay in bits."""

    name = "rounded"
    parameters = ("E", "A", "B", "alpha", "beta", "C", "delta", "eps", "gamma_P")
    logarithmic = frozenset({"E", "A", "B", "C", "gamma_P"})
    columns = (PARAMS, TOKENS, ROUNDED)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        log_c, delta, eps, log_gamma = split(theta[..., 5:])
        log_size, log_tokens = np.log(at[PARAMS]), np.log(at[TOKENS])
        added = log_c + delta * log_tokens - eps * log_size - at[ROUNDED] / np.exp(log_gamma)
        result: Array = np.logaddexp(_PLAIN.log_loss_at(theta[..., :5], log_size, log_tokens), added)
        return result

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        share, delta, eps, log_gamma = ROUNDING
        level = share + np.log(np.median(loss)) + 6.0 / np.exp(log_gamma)
        return np.hstack([plain, np.tile((level, delta, eps, log_gamma), (len(plain), 1))])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        result = rescaled_pair(theta, units)
        result[..., 5] += theta[..., 7] * np.log(units[PARAMS]) - theta[..., 6] * np.log(units[TOKENS])
        return result
