"""Chinchilla: loss = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv 2203.15556, eq. 10)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form, split

SHARES = (0.05, 0.3, 0.5, 0.65, 0.8, 0.92)
"""Of E in the least loss, tried as starts."""
EXPONENTS = (0.05, 0.15, 0.3, 0.45, 0.7, 1.1, 1.8)
SPLITS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the reducible loss at the centre, between N and D."""


def power_starts(loss: Array, exponents: tuple[float, ...] = EXPONENTS) -> Array:
    """[S, 5]: (log E, log A0, log B0, alpha, beta) over a grid of shares and exponents.

    In centred units the two reducible terms together are what is left of the median loss.
    """
    lowest, middle = float(loss.min()), float(np.median(loss))
    grid = itertools.product(SHARES, SPLITS, exponents, exponents)
    rows = [
        (share * lowest, part * (middle - share * lowest), (1 - part) * (middle - share * lowest), alpha, beta)
        for share, part, alpha, beta in grid
    ]
    result = np.array(rows)
    result[:, :3] = np.log(result[:, :3])
    return result


class Chinchilla(Form):
    """Five parameters; a model and its data each leave their own part of the loss."""

    name = "chinchilla"
    parameters = ("E", "A", "B", "alpha", "beta")
    logarithmic = frozenset({"E", "A", "B"})

    def log_loss(self, theta: Array, at: Columns) -> Array:
        return self.log_loss_at(theta, np.log(at[PARAMS]), np.log(at[TOKENS]))

    def log_loss_at(self, theta: Array, log_size: Array, log_tokens: Array) -> Array:
        """At logs of N and D that may differ between thetas: they broadcast against [..., n]."""
        log_e, log_a, log_b, alpha, beta = split(theta)
        reducible = np.logaddexp(log_a - alpha * log_size, log_b - beta * log_tokens)
        result: Array = np.log(np.exp(log_e) + np.exp(reducible))
        return result

    def slopes(self, theta: Array, at: Columns) -> Array:
        floor, of_size, of_tokens = terms = self._terms(theta, at)
        whole = sum(terms)
        floor, of_size, of_tokens = floor / whole, of_size / whole, of_tokens / whole
        logs = np.log(at[PARAMS]), np.log(at[TOKENS])
        return np.stack([floor, of_size, of_tokens, -of_size * logs[0], -of_tokens * logs[1]], axis=-2)

    def starts(self, at: Columns, loss: Array) -> Array:
        return power_starts(loss)

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return rescaled_pair(theta, units)

    def _terms(self, theta: Array, at: Columns) -> tuple[Array, Array, Array]:
        log_e, log_a, log_b, alpha, beta = split(theta)
        of_size, of_tokens = log_a - alpha * np.log(at[PARAMS]), log_b - beta * np.log(at[TOKENS])
        floor = np.broadcast_to(np.exp(log_e), of_size.shape)
        return floor, np.exp(of_size), np.exp(of_tokens)


def rescaled_pair(theta: Array, units: Mapping[str, float]) -> Array:
    """For theta that begins (log E, log A, log B, alpha, beta): A becomes A unit^alpha."""
    result = theta.copy()
    result[..., 1] += theta[..., 3] * np.log(units[PARAMS])
    result[..., 2] += theta[..., 4] * np.log(units[TOKENS])
    return result
