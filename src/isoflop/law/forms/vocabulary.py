"""Vocabulary: Skaling with D tokens of text worth D / V^phi when cut into V kinds of them.

    loss = E + ((A / N^alpha)^p + (B / (D / V^phi)^beta)^p)^(1/p)

D is counted in what does not depend on V (characters or bytes), and so must the loss be (per character, or less that
of the same vocabulary's unigrams). More kinds are each seen less often, so the text teaches less of each. Tao et al.
(2024, arXiv 2407.13623) add a term in V instead; fitted to their 1,080 runs, one exponent phi forecasts a vocabulary
half as large again better than that (docs/log.md, 17).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, VOCABULARY, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import power_starts, rescaled_pair
from isoflop.law.forms.skaling import coupled_log_loss, coupled_slopes

COUPLINGS = (1.0, 2.0)
EXPONENTS = (0.15, 0.35, 0.7)
DILUTION = 0.1
"""phi to start from."""


class Vocabulary(Form):
    """Seven parameters: Skaling's and phi."""

    name = "vocabulary"
    parameters = ("E", "A", "B", "alpha", "beta", "p", "phi")
    logarithmic = frozenset({"E", "A", "B", "p"})
    columns = (PARAMS, TOKENS, VOCABULARY)
    centred = (PARAMS, TOKENS, VOCABULARY)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        return coupled_log_loss(theta[..., :6], np.log(at[PARAMS]), self._log_worth(theta, at))

    def slopes(self, theta: Array, at: Columns) -> Array:
        coupled = coupled_slopes(theta[..., :6], np.log(at[PARAMS]), self._log_worth(theta, at))
        beta = theta[..., 4, None]
        of_phi = coupled[..., 2, :] * beta * np.log(at[VOCABULARY])  # B stands beside V^(phi beta)
        return np.concatenate([coupled, of_phi[..., None, :]], axis=-2)

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        rest = [np.tile((np.log(p), DILUTION), (len(plain), 1)) for p in COUPLINGS]
        return np.vstack([np.hstack([plain, each]) for each in rest])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        result = rescaled_pair(theta, units)
        result[..., 2] -= theta[..., 4] * theta[..., 6] * np.log(units[VOCABULARY])
        return result

    @staticmethod
    def _log_worth(theta: Array, at: Columns) -> Array:
        """log (D / V^phi), [..., n]."""
        (phi,) = split(theta[..., 6:7])
        result: Array = np.log(at[TOKENS]) - phi * np.log(at[VOCABULARY])
        return result
