"""Bounded: losses between a floor E and the ceiling L0 of a model that has learnt nothing (Bryant & Liu 2026, arXiv
2605.09189).

    loss = E + (L0 - E) h / (1 + h),   h = A / N^alpha + B / D^beta            (``bounded``)
                                       h = A / N^alpha + B / U^beta + C N^gamma / D^delta    (``bounded_epochs``)

In ``bounded_epochs`` U is the number of distinct tokens and D all that were trained on, with repetition: a larger model
needs more steps over the same text.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, UNIQUE, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import rescaled_pair

FLOORS, CEILINGS = (0.3, 0.6, 0.85), (1.2, 2.0, 4.0)
"""E as a share of the least loss, and L0 as a multiple of the largest, tried as starts."""
EXPONENTS = (0.15, 0.35, 0.7)


def _bounded(log_floor: Array, log_gap: Array, log_h: Array) -> Array:
    """log of E + gap h / (1 + h)."""
    result: Array = np.log(np.exp(log_floor) + np.exp(log_gap - np.logaddexp(0.0, -log_h)))
    return result


def _levels(loss: Array) -> list[tuple[float, float, float]]:
    """(log E, log (L0 - E), log of h at the centre) to start from."""
    lowest, middle, highest = float(loss.min()), float(np.median(loss)), float(loss.max())
    starts = []
    for floor, ceiling in itertools.product(FLOORS, CEILINGS):
        gap = ceiling * highest - floor * lowest
        share = (middle - floor * lowest) / gap
        starts.append((np.log(floor * lowest), np.log(gap), np.log(share / (1 - share))))
    return starts


class Bounded(Form):
    """Six parameters; ``gap`` is L0 - E."""

    name = "bounded"
    parameters = ("E", "A", "B", "alpha", "beta", "gap")
    logarithmic = frozenset({"E", "A", "B", "gap"})

    def log_loss(self, theta: Array, at: Columns) -> Array:
        log_e, log_a, log_b, alpha, beta, log_gap = split(theta)
        log_h = np.logaddexp(log_a - alpha * np.log(at[PARAMS]), log_b - beta * np.log(at[TOKENS]))
        return _bounded(log_e, log_gap, log_h)

    def starts(self, at: Columns, loss: Array) -> Array:
        halves = np.log([0.2, 0.5, 0.8]), np.log([0.8, 0.5, 0.2])
        grid = itertools.product(_levels(loss), zip(*halves, strict=True), EXPONENTS, EXPONENTS)
        return np.array([(e, h + a, h + b, alpha, beta, gap) for (e, gap, h), (a, b), alpha, beta in grid])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return rescaled_pair(theta, units)


class BoundedEpochs(Form):
    """Nine parameters; U in place of D in the second term, and a third for how long D is for N."""

    name = "bounded_epochs"
    parameters = ("E", "A", "B", "alpha", "beta", "gap", "C", "gamma", "delta")
    logarithmic = frozenset({"E", "A", "B", "gap", "C"})
    columns = (PARAMS, TOKENS, UNIQUE)

    def log_loss(self, theta: Array, at: Columns) -> Array:
        log_e, log_a, log_b, alpha, beta, log_gap, log_c, gamma, delta = split(theta)
        log_size, log_tokens = np.log(at[PARAMS]), np.log(at[TOKENS])
        log_unique = np.log(np.minimum(at[UNIQUE], at[TOKENS]))
        of_both = np.logaddexp(log_a - alpha * log_size, log_b - beta * log_unique)
        return _bounded(log_e, log_gap, np.logaddexp(of_both, log_c + gamma * log_size - delta * log_tokens))

    def starts(self, at: Columns, loss: Array) -> Array:
        thirds = np.log([(0.2, 0.4, 0.4), (0.4, 0.4, 0.2), (0.3, 0.1, 0.6)])
        grid = itertools.product(_levels(loss), thirds, EXPONENTS, EXPONENTS, (0.0, 0.2), EXPONENTS)
        return np.array(
            [
                (e, h + a, h + b, alpha, beta, gap, h + c, gamma, delta)
                for (e, gap, h), (a, b, c), alpha, beta, gamma, delta in grid
            ]
        )

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        result = rescaled_pair(theta, units)
        result[..., 6] += theta[..., 8] * np.log(units[TOKENS]) - theta[..., 7] * np.log(units[PARAMS])
        return result
