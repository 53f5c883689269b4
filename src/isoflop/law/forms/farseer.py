"""Farseer: loss = exp(s N^q + S) + exp(B N^b + Q) D^-exp(A N^a + E) (Li et al. 2025, arXiv 2506.10972, eq. 8).

The exponent of D and its coefficient depend on N. Nine parameters want a dense grid of some hundred runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form, split

CURVATURES = (-0.3, -0.1, 0.1)
"""q, b and a tried as starts; each pair (s, q) is a Box-Cox curve of log N."""


class Farseer(Form):
    """Nine parameters: floor(N), coefficient(N) and exponent(N) are each exp(level + slope (N^power - 1) / power).

    That is the paper's exp(s N^q + S) with s = slope / power, S = level - s: the same curves, but at power 0 they are
    power laws of N instead of constants, and level and slope mean something at the centre.
    """

    name = "farseer"
    parameters = (
        "log_floor", "floor_slope", "floor_power",
        "log_coefficient", "coefficient_slope", "coefficient_power",
        "log_exponent", "exponent_slope", "exponent_power",
    )  # fmt: skip
    logarithmic = frozenset()  # the three levels are logarithms: far from the centre they may be too large for a float
    centred = (PARAMS,)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        values, log_size, log_tokens = split(theta), np.log(at[PARAMS]), np.log(at[TOKENS])
        with np.errstate(over="ignore", invalid="ignore"):
            floor, coefficient, exponent = (
                level + slope * _box_cox(log_size, power)
                for level, slope, power in (values[0:3], values[3:6], values[6:9])
            )
            result: Array = np.logaddexp(floor, coefficient - np.exp(exponent) * log_tokens)
        return result

    def starts(self, at: Columns, loss: Array) -> Array:
        middle = float(np.median(loss))
        centre = float(np.log(at[TOKENS]).mean())
        grid = itertools.product((0.4, 0.65, 0.85), (-0.15, -0.05), CURVATURES, (-0.15, 0.0, 0.15), (0.2, 0.35, 0.6))
        rows = [
            (
                *(np.log(share * middle), slope, power),
                *(np.log((1 - share) * middle) + beta * centre, tilt, 0.1),
                *(np.log(beta), 0.0, 0.1),
            )
            for share, slope, power, tilt, beta in grid
        ]
        return np.array(rows)

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        """A Box-Cox curve of N in one unit is one of N in another; D is never centred, its exponent varies."""
        result, log_size = theta.copy(), np.log(units[PARAMS])
        for first in (0, 3, 6):
            level, slope, power = (theta[..., first + i] for i in range(3))
            result[..., first + 1] = slope * np.exp(-power * log_size)
            result[..., first] = level + slope * _box_cox(-log_size, power)
        return result


def _box_cox(log_value: Array, power: Array) -> Array:
    """(value^power - 1) / power, log value at power 0."""
    small = np.abs(power) < 1e-8
    result: Array = np.where(small, log_value, np.expm1(power * log_value) / np.where(small, 1.0, power))
    return result
