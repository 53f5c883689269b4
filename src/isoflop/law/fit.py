"""From a table of runs to a law: forms chosen by how they extrapolate, each with its intervals and certificate."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from isoflop.core.errors import TableError
from isoflop.core.products import Certificate, LawPoint, LawReport, StackReport, StudyWarning
from isoflop.law.checks import fit_warnings, table_warnings
from isoflop.law.choose import LEAST_WEIGHT, Score, predicted, scores, weights
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, Form, form_of
from isoflop.law.identify import unidentified
from isoflop.law.leverage import leverage
from isoflop.law.objective import Cost, Huber
from isoflop.law.resample import Way, resampled
from isoflop.law.search import Optimum, best_fit
from isoflop.law.stack import Stack
from isoflop.law.table import LOSS, Table

AUTO = "auto"
FRESH = ("chinchilla", "skaling", "kaplan", "bounded")
REPEATED = ("muennighoff", "repeated_chinchilla", "coupled", "bounded_epochs")
DENSE = ("farseer",)
"""Tried where there are at least so many runs of so many sizes:"""
DENSE_RUNS, DENSE_SIZES = 80, 8


def fit(
    table: Table,
    *,
    form: str = AUTO,
    cost: Cost | None = None,
    way: Way = "points",
    num_draws: int = 1000,
    seed: int = 0,
    noise: float = 0.0,
) -> Stack:
    """Fits one form by name, or a stack of all that suit the table.

    ``cost`` is Hoffmann's Huber(1e-3) unless given; ``way`` and ``noise`` say how runs are resampled
    (`resample.resampled`). Raises ``TableError`` where the runs cannot determine any form, ``ValueError`` for an
    unknown one.
    """
    started, cost = time.perf_counter(), cost or Huber()
    forms = suitable(table) if form == AUTO else [form_of(form)]
    scored = scores(table, forms, cost=cost)
    chosen, warned = _chosen(scored) if len(forms) > 1 else ({scored[0].form: 1.0}, [])
    reports = {
        name: fit_form(table, form_of(name), cost=cost, way=way, num_draws=num_draws, seed=seed, noise=noise)
        for name in chosen
    }
    order = sorted(chosen, key=lambda name: -chosen[name])
    errors = {score.form: score.error if np.isfinite(score.error) else None for score in scored}
    laws = [reports[name][1] for name in order]
    told = leverage(table, reports[order[0]][0], np.array(list(laws[0].standard_errors.values())))
    return Stack.from_report(
        StackReport(
            laws=laws,
            weights=[chosen[name] for name in order],
            extrapolation_errors=[errors[name] for name in order],
            warnings=[*table_warnings(table), *warned, *fit_warnings(table, laws), *([told.warning()] if told else [])],
            seconds=time.perf_counter() - started,
        )
    )


def suitable(table: Table) -> list[Form]:
    """The forms to try on a table: those that know of repetition where there is some, the richest where runs abound."""
    repeats = bool(np.any(table.columns[TOKENS] > 1.01 * table.places()[UNIQUE]))
    dense = len(table) >= DENSE_RUNS and len(np.unique(table.columns[PARAMS])) >= DENSE_SIZES
    names = REPEATED if repeats else (*FRESH, *(DENSE if dense else ()))
    return [form_of(name) for name in names if len(form_of(name).parameters) <= len(table)]


def _chosen(scored: Sequence[Score]) -> tuple[dict[str, float], list[StudyWarning]]:
    """Weights by form; with too few runs to tell, the form of fewest parameters alone, and a warning."""
    if not any(np.isfinite(score.error) for score in scored):
        if not scored:
            raise TableError("there are fewer runs than any form has parameters", remedy="Add runs")
        simplest = min(scored, key=lambda score: score.num_parameters)
        message = f"too few runs to compare forms by extrapolation: {simplest.form} was taken unseen"
        return {simplest.form: 1.0}, [StudyWarning("form_untested", message)]
    shares = weights(scored)
    kept = {score.form: float(share) for score, share in zip(scored, shares, strict=True) if share >= LEAST_WEIGHT}
    whole = sum(kept.values())
    return {name: share / whole for name, share in kept.items()}, []


def fit_form(
    table: Table, form: Form, *, cost: Cost, way: Way, num_draws: int, seed: int, noise: float
) -> tuple[Optimum, LawReport]:
    """One form's global optimum with its intervals."""
    found = best_fit(table, form, cost=cost)
    draws = found.natural_of(resampled(table, found, way=way, num_draws=num_draws, seed=seed, noise=noise))
    return found, LawReport(
        form=form.name,
        parameters=found.natural(),
        standard_errors=found.named(np.std(draws, axis=0, ddof=1)),
        prior_dominated=unidentified(form, draws),
        draws=draws.tolist(),
        residual_sd=_residual_sd(table, found),
        points=_points(table, noise),
        heldout_error=None,
        certificate=Certificate(found.objective, found.converged, found.num_basins, found.condition_number),
    )


def _residual_sd(table: Table, found: Optimum) -> float:
    """Root-mean-square log residual over points less parameters."""
    residuals = np.log(predicted(found, table) / table.loss)
    return float(np.sqrt(np.sum(residuals**2) / max(len(table) - len(found.theta), 1)))


def _points(table: Table, noise: float) -> list[LawPoint]:
    columns, flops = table.places(), table.cost
    unique = np.where(np.isfinite(columns[UNIQUE]), columns[UNIQUE], columns[TOKENS])  # JSON has no infinity
    return [
        LawPoint(
            run=table.rows[i],
            num_parameters=float(columns[PARAMS][i]),
            tokens=float(columns[TOKENS][i]),
            unique_tokens=float(unique[i]),
            flops=float(flops[i]),
            loss=float(table.columns[LOSS][i]),
            noise=noise * float(table.columns[LOSS][i]),
        )
        for i in range(len(table))
    ]
