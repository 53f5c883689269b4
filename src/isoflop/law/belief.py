"""How much each run counts for a forecast, and what is held likely before any run.

No form holds everywhere, and a fit that gives every run the same weight lets the many cheap ones decide about the dear
ones that are asked for. Two doubts answer that. A run's misfit may grow with every e-fold of cost below the costliest
run; and a run far above the lowest loss that its cost can buy (too large for its tokens, or too small) tells little
about those that are planned. With the runs doubted the published exponents matter again, as a Gaussian prior.

Over 21 public tables the median error at forecasting the costliest 30 % from the rest fell by half when both were added
(docs/log.md, 17).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.law.forms import Array, Form
from isoflop.law.table import Table

SAME_COST = 0.05
"""Runs whose FLOPs differ by less compete for the lowest loss of that cost."""
FAR_ABOVE = 0.03
"""Log loss above the lowest of its cost from which a run is far from the frontier; a tenth of a nat at 3.5."""
FAR_DOUBT = 10.0
"""How many times as far from the law such a run may be."""
NEARLY = 0.06
"""Log loss above the lowest of its cost up to which forecasts of a run are judged; .2 nats (scaling.md sec. 4)."""

FLOOR = (0.6, 0.3)
"""E as a share of the lowest loss, and the sd of its logarithm."""
EXPONENT = (0.34, 0.07)
"""alpha and beta: Hoffmann .339 and .285, Besiroglu .348 and .366, Muennighoff .353 for both."""


@dataclass(frozen=True)
class Belief:
    """What is believed beside the runs."""

    name: str
    doubt_per_efold: float
    """Growth of a run's misfit with every e-fold of cost that it lies below the costliest."""
    near: bool = False
    """Whether runs far above the frontier are doubted more."""
    published: bool = False
    """Whether floor and exponents are held likely to be what was published; otherwise a form's own starts say."""

    def doubt(self, table: Table) -> Array:
        """How many times as far from the law as the costliest run each run [n] may be."""
        result: Array = falling(table.cost, float(table.cost.max()), self.doubt_per_efold)
        return result * np.where(excess(table) > FAR_ABOVE, FAR_DOUBT, 1.0) if self.near else result

    def prior(self, form: Form, starts: Array, lowest: float) -> tuple[Array, Array]:
        """Mean and sd [P] of theta in units near the runs' means, from the form's ``starts`` and the lowest loss."""
        mean, sd = starts.mean(axis=0), form.spread(starts)
        if self.published:
            held = {"E": (FLOOR[0] * lowest, FLOOR[0] * FLOOR[1] * lowest), "alpha": EXPONENT, "beta": EXPONENT}
            for name in held.keys() & set(form.parameters):
                (value, spread), i = held[name], form.index(name)
                logarithmic = name in form.logarithmic
                mean[i], sd[i] = (math.log(value), spread / value) if logarithmic else (value, spread)
        return mean, sd


OPEN = Belief("open", 1.0)
"""For choosing runs: nothing is held likely that the form's starts do not say, and no place is too far."""
WHOLE = Belief("whole", 1.0, published=True)
NEAR = Belief("near", 4.0, near=True, published=True)


def falling(cost: Array, costliest: float, per_efold: float) -> Array:
    """1 + per_efold log(costliest / cost), from 1 on, [n]."""
    result: Array = 1 + per_efold * np.maximum(np.log(costliest / cost), 0.0)
    return result


def excess(table: Table) -> Array:
    """Log loss [n] of each run above the lowest of all runs that cost as much or less."""
    order = np.argsort(table.cost, kind="stable")
    cost, log_loss = table.cost[order], np.log(table.loss[order])
    rivals = np.searchsorted(cost, cost * (1 + SAME_COST), side="right") - 1
    result = np.empty(len(table))
    result[order] = log_loss - np.minimum.accumulate(log_loss)[rivals]
    return result


def nearly_best(table: Table) -> NDArray[np.bool_]:
    """[n] whether a run is one that a planner might have chosen."""
    result: NDArray[np.bool_] = excess(table) <= NEARLY
    return result
