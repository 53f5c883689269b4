"""The best fit of a form to a table: many starts screened at once, the best refined, and a certificate of the optimum.

Screening 4,500 starts and refining the best of them reaches the optimum that as many full descents reach (scaling.md
sec. 4); how many different optima the refined starts end in is told, with the gradient and the condition there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from isoflop.core.errors import TableError
from isoflop.law.forms import PARAMS, TOKENS, Array, Form
from isoflop.law.objective import Cost, Huber
from isoflop.law.solve import Fitted, Problem, minimise
from isoflop.law.table import Table

NUM_REFINED = 48
"""Starts that descend, the best after screening."""
SAME_OPTIMUM = 1e-6
"""Optima whose objectives differ by less than this share are one basin."""
HELD = 1e8
"""Prior precision of a parameter that is held."""
CONVERGED = 1e-8
"""Share of the objective that one more Newton step may promise to take off at a certified optimum."""


_WORST = 1e300
"""A finite number for what has none: JSON knows no infinity."""


@dataclass(frozen=True)
class Optimum(Fitted):
    """A fitted form, and how sure it is that nothing better was missed."""

    objective: float
    num_basins: int
    condition_number: float
    """Of the curvature at the optimum, its parameters scaled to unit diagonal."""
    promised_decrease: float
    """Share of the objective that one more Newton step promises to take off."""

    @property
    def converged(self) -> bool:
        return self.promised_decrease < CONVERGED


def problem_of(
    table: Table,
    form: Form,
    cost: Cost,
    *,
    weights: Array | None = None,
    units: Mapping[str, float] | None = None,
) -> tuple[Problem, dict[str, float]]:
    """The fit of ``form`` to ``table`` without a prior; every row counts as ``weights`` [points] says, or once.

    Raises ``TableError`` where the table lacks a column of the form.
    """
    columns, num = table.places(), len(form.parameters)
    if missing := [name for name in form.columns if name not in columns]:
        remedy = f"Add it, or name yours: --columns {missing[0]}=HEADER"
        raise TableError(f"{form.name} needs a column {missing[0]}", remedy=remedy)
    units = dict(units or form.units(columns))
    problem = Problem(
        form=form,
        at={name: columns[name] / units[name] for name in form.columns},
        log_losses=np.log(table.loss)[None],
        cost=cost,
        weights=np.ones((1, len(table))) if weights is None else weights[None],
        sigma=np.ones(len(table)),
        prior_mean=np.zeros((1, num)),
        prior_precision=np.zeros(num),
    )
    return problem, units


def best_fit(
    table: Table,
    form: Form,
    *,
    cost: Cost | None = None,
    weights: Array | None = None,
    hold: Mapping[str, float] | None = None,
) -> Optimum:
    """The global optimum as far as the form's starts reach; parameters in ``hold`` (natural) stay as they are.

    Raises ``TableError`` with too few runs or levels, and for a held parameter that the form has not.
    """
    _refuse_few(table, form, num_held=len(hold or {}))
    refuse_flat(table, form)
    problem, units = problem_of(table, form, cost or Huber(), weights=weights)
    starts = form.starts(problem.at, table.loss)
    if not hold:
        return optimum_of(problem, units, starts)
    ones = dict.fromkeys(units, 1.0)  # only for columns in ones does a held A stay A whatever alpha does
    problem, _ = problem_of(table, form, cost or Huber(), weights=weights, units=ones)
    problem, starts = _held(problem, hold, form.rescaled(starts, units))
    return optimum_of(problem, ones, starts)


def _held(problem: Problem, hold: Mapping[str, float], starts: Array) -> tuple[Problem, Array]:
    """The problem and its starts with some parameters tied to their values."""
    form = problem.form
    if unknown := [name for name in hold if name not in form.parameters]:
        remedy = f"It has {', '.join(form.parameters)}"
        raise TableError(f"{form.name} has no parameter {unknown[0]} to hold", remedy=remedy)
    index = [form.index(name) for name in hold]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = form.theta_of(np.array([hold.get(name, 1.0) for name in form.parameters]))
    if senseless := [name for name in hold if not np.isfinite(values[form.index(name)])]:
        remedy = f"Hold it at a{' positive' if senseless[0] in form.logarithmic else ''} number"
        raise TableError(f"{senseless[0]} cannot be {hold[senseless[0]]:g}", remedy=remedy)
    precision = np.zeros(len(values))
    precision[index] = HELD
    starts = starts.copy()
    starts[:, index] = values[index]
    return replace(problem, prior_mean=values[None], prior_precision=precision), np.unique(starts, axis=0)


def optimum_of(
    problem: Problem,
    units: dict[str, float],
    starts: Array,
    *,
    num_refined: int = NUM_REFINED,
    tolerance: float = 1e-13,
) -> Optimum:
    """The best of the optima that the best ``num_refined`` of ``starts`` [S, P] lead to.

    It is done when a step promises to lower the objective by no more than ``tolerance`` of itself.
    """
    order = np.argsort(problem.objective(starts))[:num_refined]
    # a wide cost first: where most residuals are beyond delta the narrow one is nearly flat in all directions
    wide = replace(problem, cost=Huber(np.inf))
    near, _ = minimise(wide, starts[order], iterations=30, tolerance=1e-4)
    reached, objectives = minimise(problem, near, iterations=150)
    best = int(np.argmin(objectives))
    (theta,), (objective,) = minimise(problem, reached[[best]], iterations=500, tolerance=tolerance)
    return Optimum(
        problem=problem,
        units=units,
        theta=theta,
        objective=float(objective),
        num_basins=_num_basins(objectives),
        **_certificate(problem, theta, float(objective)),
    )


def _refuse_few(table: Table, form: Form, *, num_held: int) -> None:
    num_free = len(form.parameters) - num_held
    if len(table) < num_free:
        what = f"{len(table)} runs cannot determine the {num_free} parameters of {form.name}"
        raise TableError(what, remedy="Add runs, or choose a form with fewer parameters")


def refuse_flat(table: Table, form: Form) -> None:
    """``TableError`` where all runs have one size or one length: no law in it can be fitted."""
    for name in (PARAMS, TOKENS):
        if name in form.columns and len(np.unique(table.columns[name])) < 2:
            remedy = f"Add runs of another {'size' if name == PARAMS else 'length'}"
            raise TableError(f"all runs have the same {name}: a law in it cannot be fitted", remedy=remedy)


def _num_basins(objectives: Array) -> int:
    """How many distinct levels the refined starts ended at, the best one and those less than twice as bad."""
    levels = np.sort(objectives[np.isfinite(objectives) & (objectives < 2 * objectives.min())])
    return 1 + int(np.sum(np.diff(levels) > SAME_OPTIMUM * levels[:-1]))


def _certificate(problem: Problem, theta: Array, objective: float) -> dict[str, float]:
    slopes = problem.slopes(theta[None])
    curvature, gradient = slopes.own[0], slopes.gradient[0]
    if not np.isfinite(curvature).all():
        return {"condition_number": _WORST, "promised_decrease": _WORST}
    scale = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    eigenvalues = np.linalg.eigvalsh(curvature / np.outer(scale, scale))
    step = np.linalg.lstsq(curvature / np.outer(scale, scale), gradient / scale, rcond=1e-12)[0]
    return {
        "condition_number": min(float(eigenvalues[-1] / max(eigenvalues[0], 1e-300)), _WORST),
        "promised_decrease": float(abs(gradient / scale @ step)) / max(objective, 1e-300),
    }
