"""Which form to believe: the one that has predicted costlier runs from cheaper ones, and how the others are weighed.

Rolling origin (Tashman 2000): for each of several shares of the runs, cheapest first, every form is fitted to those
and judged on the next ones. No form wins everywhere (scaling.md sec. 4), so all that can be fitted are stacked: the
forecast is the mean of their logs with weights 1 / error^2, which beat picking the best by the same scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.core.errors import TableError
from isoflop.law.forms import Array, Form
from isoflop.law.objective import Cost
from isoflop.law.search import Optimum, best_fit
from isoflop.law.table import Table

ORIGINS = (0.55, 0.7, 0.85)
"""Shares of the runs by cost that are fitted; what follows up to the next share is predicted."""
LEAST_ERROR = 1e-4
"""Relative; a form is not believed to be better than that."""
LEAST_WEIGHT = 0.02
"""Forms of less weight are left out of a stack: their fits would cost more than they change."""


@dataclass(frozen=True)
class Score:
    """How one form extrapolates."""

    form: str
    error: float
    """Mean over the origins of the mean absolute relative error; infinite where the form could not be fitted."""
    num_parameters: int


def scores(table: Table, forms: Sequence[Form], *, cost: Cost | None = None) -> list[Score]:
    """Each form's rolling-origin error, in the order given."""
    order = np.argsort(table.cost, kind="stable")
    edges = [round(share * len(table)) for share in (*ORIGINS, 1.0)]
    found = []
    for form in forms:
        errors = [
            _error(table.take(order[:end]), table.take(order[end:until]), form, cost)
            for end, until in itertools.pairwise(edges)
            if until > end
        ]
        found.append(Score(form.name, float(np.mean(errors)), len(form.parameters)))
    return found


def _error(known: Table, later: Table, form: Form, cost: Cost | None) -> float:
    try:
        fitted = best_fit(known, form, cost=cost)
    except TableError:
        return np.inf
    return relative_error(predicted(fitted, later), later.loss)


def predicted(fitted: Optimum, table: Table) -> Array:
    """Losses of the table's runs, nats per token."""
    result: Array = np.exp(fitted.log_loss(table.places()))
    return result


def relative_error(forecast: Array, measured: Array) -> float:
    """Mean absolute relative error; infinite where a forecast is no number."""
    error = float(np.mean(np.abs(forecast / measured - 1)))
    return error if np.isfinite(error) else np.inf


def weights(scored: Sequence[Score]) -> Array:
    """[forms], summing to one: 1 / error^2."""
    precision = np.array([max(score.error, LEAST_ERROR) ** -2.0 for score in scored])
    if not precision.any():
        raise TableError("no form could be fitted to these runs", remedy="Add runs of other sizes and lengths")
    result: Array = precision / precision.sum()
    return result
