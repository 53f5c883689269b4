"""From a table of runs to a law: forms chosen by how they extrapolate, each with its intervals and certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoflop.core.errors import TableError
from isoflop.core.products import Certificate, LawPoint, LawReport, StackReport, StudyWarning
from isoflop.law.belief import NEAR, WHOLE
from isoflop.law.checks import fit_warnings, table_warnings
from isoflop.law.choose import LEAST_WEIGHT, ORIGINS, Candidate, Score, predicted, scores, weights
from isoflop.law.ensemble import members_of, noise_of
from isoflop.law.forms import BATCH, LEARNING_RATE, PARAMS, TOKENS, UNIQUE, Array, form_of
from isoflop.law.identify import prior_decides, unidentified
from isoflop.law.leverage import leverage
from isoflop.law.objective import Cost, Huber
from isoflop.law.profile import flat
from isoflop.law.resample import Way, resampled
from isoflop.law.search import Optimum, refuse_flat
from isoflop.law.stack import Stack
from isoflop.law.table import LOSS, Table

AUTO = "auto"
FRESH = ("chinchilla", "skaling", "kaplan", "bounded")
"""Farseer's nine parameters made stacks of these worse on published tables (docs/log.md, 17)."""
REPEATED = ("muennighoff", "repeated_chinchilla", "coupled", "bounded_epochs")
TUNED: tuple[str, ...] = ("tuned",)
MIN_RUNS = 5
"""As many as the simplest of these has parameters."""


def fit(
    table: Table,
    *,
    form: str = AUTO,
    cost: Cost | None = None,
    hold: Mapping[str, float] | None = None,
    way: Way = "points",
    num_draws: int = 1000,
    seed: int = 0,
    noise: float = 0.0,
) -> Stack:
    """Fits one form by name, or a stack of all that suit the table.

    One form is fitted to the runs alone: ``cost`` is Hoffmann's Huber(1e-3) unless given, parameters in ``hold`` stay;
    ``way`` and ``noise`` say how runs are resampled (`resample.resampled`). A stack is made to forecast costlier runs:
    each form is fitted under each belief (`belief`), weighed by how that extrapolates, and of the four ``noise`` alone
    counts: no interval is narrower than it.

    Raises ``TableError`` where the runs cannot determine any form, ``ValueError`` for an unknown one.
    """
    started = time.perf_counter()
    alone = Candidate(form_of(form), cost=cost or Huber(), hold=hold or {}) if form != AUTO else None
    candidates = [alone] if alone else suitable(table)
    for candidate in candidates:
        refuse_flat(table, candidate.form)
    scored = scores(table, candidates, near=form == AUTO)
    chosen = _chosen(scored) if len(scored) > 1 else [(scored[0], 1.0)]
    draw = _Draw(way, num_draws, seed, noise)
    laws = [fit_candidate(table, score.candidate, draw) for score, _ in chosen]
    return Stack.from_report(
        StackReport(
            laws=laws,
            weights=[weight for _, weight in chosen],
            extrapolation_errors=[score.error if np.isfinite(score.error) else None for score, _ in chosen],
            warnings=[
                *table_warnings(table),
                *_untested(table, scored),
                *fit_warnings(table, laws),
                *_leverage(table, chosen[0][0].candidate, laws[0]),
            ],
            seconds=time.perf_counter() - started,
        )
    )


def suitable(table: Table) -> list[Candidate]:
    """What to try: forms that know of repetition or tuning where there is some.

    Runs that repeat their tokens or stray from the best learning rate are far above the frontier and are just what
    those forms learn from. Raises ``TableError`` for fewer than ``MIN_RUNS``.
    """
    if len(table) < MIN_RUNS:
        what = f"{len(table)} runs are fewer than the parameters of any form ({MIN_RUNS} and more)"
        raise TableError(what, remedy="Add runs")
    repeats = bool(np.any(table.columns[TOKENS] > 1.01 * table.places()[UNIQUE]))
    if {LEARNING_RATE, BATCH} <= table.columns.keys():
        names, beliefs = TUNED, [WHOLE]
    elif repeats:
        names, beliefs = REPEATED, [WHOLE]
    else:
        names, beliefs = FRESH, [WHOLE, NEAR]
    return [Candidate(form_of(name), belief) for name in names for belief in beliefs]


def _untested(table: Table, scored: Sequence[Score]) -> list[StudyWarning]:
    """Whether the first forecasts, by which forms are judged, rested on fewer runs than parameters."""
    first, most = round(ORIGINS[0] * len(table)), max(len(score.candidate.form.parameters) for score in scored)
    if first >= most:
        return []
    message = f"{len(table)} runs are few to judge forms of {most} parameters by how they extrapolate"
    return [StudyWarning("form_untested", message)]


def _chosen(scored: Sequence[Score]) -> list[tuple[Score, float]]:
    """Weights, largest first."""
    shares = weights(scored)
    kept = [(score, float(share)) for score, share in zip(scored, shares, strict=True) if share >= LEAST_WEIGHT]
    whole = sum(share for _, share in kept)
    return sorted(((score, share / whole) for score, share in kept), key=lambda pair: -pair[1])


@dataclass(frozen=True)
class _Draw:
    """How intervals are drawn."""

    way: Way
    num_draws: int
    seed: int
    noise: float


def fit_candidate(table: Table, candidate: Candidate, draw: _Draw) -> LawReport:
    """One form's optimum with its intervals."""
    found = candidate.fit(table)
    form, believed = candidate.form, candidate.belief is not None
    if believed:
        thetas = members_of(found, num_members=draw.num_draws, rng=np.random.default_rng(draw.seed))
    else:
        thetas = resampled(table, found, way=draw.way, num_draws=draw.num_draws, seed=draw.seed, noise=draw.noise)
    with np.errstate(over="ignore"):
        every = found.natural_of(thetas)
    finite = np.isfinite(every).all(axis=1)
    draws = every[finite] if finite.any() else found.natural_of(found.theta[None])
    prior_sd = found.problem.prior_precision**-0.5 if believed else None
    return LawReport(
        form=form.name,
        parameters=found.natural(),
        standard_errors=found.named(np.std(draws, axis=0)),
        prior_dominated=_open(found, every) if prior_sd is None else prior_decides(form, thetas, prior_sd),
        draws=draws.tolist(),
        residual_sd=noise_of(found) if believed else _residual_sd(table, found),
        points=_points(table, draw.noise),
        heldout_error=None,
        certificate=Certificate(found.objective, found.converged, found.num_basins, found.condition_number),
        belief=candidate.belief.name if candidate.belief else None,
    )


def _open(found: Optimum, draws: Array) -> list[str]:
    """Parameters that the runs leave open: refits to resampled runs differ widely, or a profile hardly rises."""
    both = {*unidentified(found.problem.form, draws), *flat(found)}
    return [name for name in found.problem.form.parameters if name in both]


def _leverage(table: Table, candidate: Candidate, law: LawReport) -> list[StudyWarning]:
    """Runs that would bend the leading form, if the runs alone decided."""
    alone = replace(candidate, belief=None)
    try:
        told = leverage(table, alone, np.array(list(law.standard_errors.values())))
    except TableError:  # too few, with or without the suspects
        return []
    return [told.warning()] if told else []


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
