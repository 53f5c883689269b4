"""The most probable fit under a belief, and what the runs leave open about it: an ensemble of fits.

Every member fits the runs and the prior as they might have been (`solve.Problem.perturbed`). With a prior there is a
fit from the first run on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from isoflop.law.belief import Belief
from isoflop.law.forms import Array, Columns, Form
from isoflop.law.objective import StudentT
from isoflop.law.search import Optimum, optimum_of, problem_of
from isoflop.law.solve import minimise
from isoflop.law.table import Table

FIRST_NOISE, LEAST_NOISE = 0.02, 0.002
"""Relative sd of a run while runs are fewer than twice the parameters, and the least believed."""
NUM_REFINED = 12
"""Starts that descend: with a prior there are fewer basins than without."""
TOLERANCE = 1e-9
"""Share of the objective: far below what a member differs by."""
_MAD = 1.4826
_ROUNDS = 2


@dataclass(frozen=True)
class Ensemble:
    """Fits of one form."""

    best: Optimum
    """To the runs as they came out."""
    members: Array
    """[K, P]: to the runs as they might have."""

    @property
    def noise(self) -> float:
        return noise_of(self.best)

    def log_losses(self, columns: Columns) -> Array:
        """[K, n]."""
        return self.best.log_loss(columns, self.members)


def most_probable(table: Table, form: Form, belief: Belief, *, units: Mapping[str, float] | None = None) -> Optimum:
    """The maximum a posteriori; noise and fit take turns. ``units`` are the table's own unless given."""
    problem, units = problem_of(table, form, StudentT(1.0), units=units)
    starts = form.starts(problem.at, table.loss)
    mean, sd = belief.prior(form, starts, float(table.loss.min()))
    doubt = belief.doubt(table)
    doubt /= doubt.min()  # where all are doubted, the least doubted tell the noise
    problem = replace(problem, prior_mean=mean[None], prior_precision=1 / sd**2, sigma=FIRST_NOISE * doubt)
    found = optimum_of(problem, units, starts, num_refined=NUM_REFINED, tolerance=TOLERANCE)
    num_basins = found.num_basins
    for _ in range(_ROUNDS):
        tells = len(table) >= 2 * len(form.parameters)
        noise = max(scatter_of(found), LEAST_NOISE) if tells else FIRST_NOISE
        found = optimum_of(replace(problem, sigma=noise * doubt), units, found.theta[None], tolerance=TOLERANCE)
    return replace(found, num_basins=num_basins)


def noise_of(found: Optimum) -> float:
    """Relative sd of a run that is not doubted."""
    return float(found.problem.sigma.min())


def scatter_of(found: Optimum) -> float:
    """Robust relative sd of undoubted runs about a fit, its parameters' freedom taken off."""
    residuals, num_parameters = found.problem.residuals(found.theta[None])[0] * noise_of(found), len(found.theta)
    free = max(len(residuals) - num_parameters, 1)
    return _MAD * float(np.median(np.abs(residuals))) * float(np.sqrt(len(residuals) / free))


def members_of(found: Optimum, *, num_members: int, rng: np.random.Generator) -> Array:
    """[K, P], K at most ``num_members``: those that make sense."""
    varied = found.problem.perturbed(num_members, rng)
    members, objectives = minimise(varied, np.tile(found.theta, (num_members, 1)), iterations=30, tolerance=1e-4)
    result: Array = members[np.isfinite(objectives)]
    return result
