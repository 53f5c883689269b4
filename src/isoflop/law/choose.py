"""Which form to believe: the one that has predicted costlier runs from cheaper ones, and how the others are weighed.

Rolling origin (Tashman 2000): for each of several shares of the runs, cheapest first, every candidate is fitted to
those and judged on the next ones. No form wins everywhere (scaling.md sec. 4), so all that can be fitted are stacked:
the forecast is the mean of their logs with weights 1 / error^4, which beat the square and picking the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isoflop.core.errors import TableError
from isoflop.law.belief import Belief, nearly_best
from isoflop.law.ensemble import most_probable
from isoflop.law.forms import Array, Form
from isoflop.law.objective import Cost, Huber
from isoflop.law.search import Optimum, best_fit
from isoflop.law.solve import Fitted
from isoflop.law.table import Table

ORIGINS = (0.55, 0.7, 0.85)
"""Shares of the runs by cost that are fitted; what follows up to the next share is predicted."""
LEAST_ERROR = 1e-4
"""Relative; a form is not believed to be better than that."""
LEAST_WEIGHT = 0.02
"""Forms of less weight are left out of a stack: their fits would cost more than they change."""


@dataclass(frozen=True)
class Candidate:
    """A form and how it is fitted."""

    form: Form
    belief: Belief | None = None
    """None: the runs alone decide, all alike."""
    cost: Cost = field(default_factory=Huber)
    """Of residuals, where the runs alone decide: Hoffmann's objective unless given."""
    hold: Mapping[str, float] = field(default_factory=dict)
    """Parameters that stay as they are, where the runs alone decide the others."""

    def fit(self, table: Table, *, units: Mapping[str, float] | None = None) -> Optimum:
        """Raises ``TableError`` where the runs cannot determine it."""
        if self.belief is None:
            return best_fit(table, self.form, cost=self.cost, hold=self.hold)
        return most_probable(table, self.form, self.belief, units=units)


@dataclass(frozen=True)
class Score:
    """How one candidate extrapolates."""

    candidate: Candidate
    error: float
    """Mean over the origins of the mean absolute relative error; infinite where it could not be fitted."""


def scores(
    table: Table,
    candidates: Sequence[Candidate],
    *,
    near: bool = False,
    units: Mapping[str, float] | None = None,
    origins: Sequence[float] = ORIGINS,
) -> list[Score]:
    """Each candidate's rolling-origin error, in the order given.

    With ``near`` only forecasts of runs near the frontier are judged, where there are such.
    """
    order = np.argsort(table.cost, kind="stable")
    judged = nearly_best(table)[order] if near else np.ones(len(table), dtype=bool)
    edges = [round(share * len(table)) for share in (*origins, 1.0)]
    parts = [
        (table.take(order[:end]), table.take(later[judged[end:until]] if judged[end:until].any() else later))
        for end, until in itertools.pairwise(edges)
        if len(later := order[end:until])
    ]
    if not parts:  # one run has nothing to forecast
        return [Score(each, np.inf) for each in candidates]
    return [Score(each, float(np.mean([_error(*part, each, units) for part in parts]))) for each in candidates]


def _error(known: Table, later: Table, candidate: Candidate, units: Mapping[str, float] | None) -> float:
    try:
        fitted = candidate.fit(known, units=units)
    except TableError:
        return np.inf
    return relative_error(predicted(fitted, later), later.loss)


def predicted(fitted: Fitted, table: Table) -> Array:
    """Losses of the table's runs, nats per token."""
    result: Array = np.exp(fitted.log_loss(table.places()))
    return result


def relative_error(forecast: Array, measured: Array) -> float:
    """Mean absolute relative error; infinite where a forecast is no number."""
    error = float(np.mean(np.abs(forecast / measured - 1)))
    return error if np.isfinite(error) else np.inf


def best_by_form(scored: Sequence[Score]) -> list[Score]:
    """Of every form the candidate that extrapolates best, in the forms' order."""
    best: dict[str, Score] = {}
    for score in scored:
        name = score.candidate.form.name
        if name not in best or score.error < best[name].error:
            best[name] = score
    return list(best.values())


def weights(scored: Sequence[Score]) -> Array:
    """[candidates], summing to one: 1 / error^4."""
    precision = np.array([max(score.error, LEAST_ERROR) ** -4.0 for score in scored])
    if not precision.any():
        raise TableError("no form could be fitted to these runs", remedy="Add runs of other sizes and lengths")
    result: Array = precision / precision.sum()
    return result
