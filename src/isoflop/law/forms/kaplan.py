"""Kaplan with a floor: loss = E + ((A / N)^(alpha / beta) + B / D)^beta.

Kaplan et al. (2020, arXiv 2001.08361), eq. 1.5; their A is N_c, their B is D_c, and they have E = 0. Among the coupled
forms it is Skaling with p = 1 / beta: a lack of tokens alone shows the exponent beta, inside the bracket D stands with
exponent 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form
from isoflop.law.forms.chinchilla import power_starts, rescaled_pair
from isoflop.law.forms.skaling import coupled_log_loss, coupled_slopes

EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.6)


class Kaplan(Form):
    """Five parameters: as Chinchilla's, A and B being (N_c)^alpha and (D_c)^beta."""

    name = "kaplan"
    parameters = ("E", "A", "B", "alpha", "beta")
    logarithmic = frozenset({"E", "A", "B", "beta"})

    def log_loss(self, theta: Array, at: Columns) -> Array:
        return coupled_log_loss(self._coupled(theta), np.log(at[PARAMS]), np.log(at[TOKENS]))

    def slopes(self, theta: Array, at: Columns) -> Array:
        full = coupled_slopes(self._coupled(theta), np.log(at[PARAMS]), np.log(at[TOKENS]))
        beta = np.exp(theta[..., 4])[..., None]
        of_beta = full[..., 4, :] * beta - full[..., 5, :]  # p = 1 / beta
        return np.concatenate([full[..., :4, :], of_beta[..., None, :]], axis=-2)

    def starts(self, at: Columns, loss: Array) -> Array:
        result = power_starts(loss, EXPONENTS)
        result[:, 4] = np.log(result[:, 4])
        return result

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        plain = theta.copy()
        plain[..., 4] = np.exp(theta[..., 4])
        result = rescaled_pair(plain, units)
        result[..., 4] = theta[..., 4]
        return result

    @staticmethod
    def _coupled(theta: Array) -> Array:
        log_beta = theta[..., 4:5]
        return np.concatenate([theta[..., :4], np.exp(log_beta), -log_beta], axis=-1)
