"""Robust fits of many problems at once: damped Newton steps on robust costs, batched in numpy.

The objective of one problem, theta [P] against measurements y [rows], is
    sum_i w_i rho((sum_k contrast_ik log loss_k(theta) - y_i) / sigma_i) + sum_j precision_j (theta_j - mean_j)^2 / 2,
where a row is the log loss at one place or a difference of two. Steps are Levenberg-Marquardt's, in two curvatures:
the cost's own (Newton's, fast where most residuals are beyond a small delta) damped by that of the parabola above it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.law.forms import Array, Columns, Form
from isoflop.law.objective import Cost

MAX_DAMPING, MIN_DAMPING = 1e9, 1e-9


@dataclass(frozen=True)
class Problem:
    """K problems over the same places; arrays of them have K or 1 rows."""

    form: Form
    at: Columns
    """[places] each, in units near their geometric means."""
    log_losses: Array
    """[K or 1, rows]"""
    cost: Cost
    weights: Array
    """[K or 1, rows]: how many times each row counts."""
    sigma: Array
    """[rows]: what a residual is measured in."""
    prior_mean: Array
    """[K or 1, P]"""
    prior_precision: Array
    """[P]; zeros where nothing is known."""
    contrast: Array | None = None
    """[rows, places]; None where every row is one place."""

    def among(self, index: NDArray[np.intp]) -> Problem:
        """The problems at ``index`` [Q]."""

        def taken(values: Array) -> Array:
            return values if len(values) == 1 else values[index]

        return replace(
            self,
            log_losses=taken(self.log_losses),
            weights=taken(self.weights),
            prior_mean=taken(self.prior_mean),
        )

    def first(self, num_rows: int) -> Problem:
        """The same problems without the rows after the first ``num_rows``."""
        return replace(
            self,
            contrast=None if self.contrast is None else self.contrast[:num_rows],
            log_losses=self.log_losses[:, :num_rows],
            weights=self.weights[:, :num_rows],
            sigma=self.sigma[:num_rows],
        )

    def perturbed(self, num: int, rng: np.random.Generator) -> Problem:
        """As it might have been, ``num`` times: log losses moved by their sigma, prior means by their spread.

        Fitting each is randomise-then-optimise (Bardsley et al. 2014, SIAM J. Sci. Comput. 36(4)), which samples the
        posterior of a linear model exactly. Every parameter needs a prior.
        """
        noise = self.sigma * rng.standard_normal((num, len(self.sigma)))
        prior_sd = self.prior_precision**-0.5
        drift = prior_sd * rng.standard_normal((num, len(prior_sd)))
        return replace(self, log_losses=self.log_losses + noise, prior_mean=self.prior_mean + drift)

    def residuals(self, theta: Array) -> Array:
        """[K, rows] in units of sigma, of theta [K, P]."""
        logs = self.form.log_loss(theta, self.at)
        rows = logs if self.contrast is None else logs @ self.contrast.T
        result: Array = (rows - self.log_losses) / self.sigma
        return result

    def objective(self, theta: Array) -> Array:
        """[K]; infinite where theta [K, P] makes no sense."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            costs = (self.weights * self.cost.value(self.residuals(theta))).sum(-1)
            total = costs + 0.5 * (self.prior_precision * (theta - self.prior_mean) ** 2).sum(-1)
        result: Array = np.where(np.isfinite(total), total, np.inf)
        return result

    def slopes(self, theta: Array) -> Slopes:
        """Gradient and curvatures at theta [K, P]."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._slopes(theta)

    def _slopes(self, theta: Array) -> Slopes:
        jacobian, residuals = self._jacobian(theta), self.residuals(theta)
        weights, prior = self.weights, np.diag(self.prior_precision)
        by_rows = ((weights * self.cost.psi(residuals))[:, None, :] * jacobian).sum(-1)
        own, above = (
            (jacobian * (weights * curve(residuals))[:, None, :]) @ np.swapaxes(jacobian, 1, 2)
            for curve in (self.cost.curvature, self.cost.weight)
        )
        return Slopes(by_rows + self.prior_precision * (theta - self.prior_mean), own + prior, above + prior)

    def _jacobian(self, theta: Array) -> Array:
        """[K, P, rows]: slopes of the residuals."""
        slopes = self.form.slopes(theta, self.at)
        rows = slopes if self.contrast is None else slopes @ self.contrast.T
        result: Array = rows / self.sigma
        return result


@dataclass(frozen=True)
class Slopes:
    """At theta [K, P]."""

    gradient: Array
    """[K, P]"""
    own: Array
    """[K, P, P]: Gauss-Newton with the cost's own curvature."""
    above: Array
    """[K, P, P]: with that of the parabola above the cost."""

    def finite(self) -> Slopes:
        """Zeros and the identity for problems whose slopes overflow: they stay where they are."""
        with np.errstate(invalid="ignore", over="ignore"):
            whole = np.isfinite(self.gradient.sum(-1) + self.above.sum((-1, -2)))
        eye = np.eye(self.gradient.shape[-1])
        return Slopes(
            np.where(whole[:, None], self.gradient, 0.0),
            np.where(whole[:, None, None], self.own, eye),
            np.where(whole[:, None, None], self.above, eye),
        )


def minimise(problem: Problem, start: Array, *, iterations: int = 100, tolerance: float = 1e-10) -> tuple[Array, Array]:
    """The minimisers [K, P] found from ``start`` [K, P], and their objectives [K].

    A problem is done when its next step promises to lower the objective by no more than ``tolerance`` of itself, or
    after ``iterations``.
    """
    theta, objective = start.copy(), problem.objective(start)
    damping = np.full(len(theta), 1e-2)
    unfinished = np.flatnonzero(np.isfinite(objective))
    for _ in range(iterations):
        if not unfinished.size:
            break
        here, part = unfinished, problem.among(unfinished)
        trial, promised = _step(part, theta[here], damping[here])
        reached = part.objective(trial)
        better = reached < objective[here]
        unfinished = here[(promised > tolerance * objective[here]) & (damping[here] < MAX_DAMPING)]
        theta[here] = np.where(better[:, None], trial, theta[here])
        objective[here] = np.where(better, reached, objective[here])
        damping[here] = np.clip(damping[here] * np.where(better, 0.2, 5.0), MIN_DAMPING, MAX_DAMPING)
    return theta, objective


def _step(problem: Problem, theta: Array, damping: Array) -> tuple[Array, Array]:
    """The damped step's end [K, P], and the decrease [K] it promises to first order, halved."""
    slopes = problem.slopes(theta).finite()
    scale = np.einsum("kii->ki", slopes.above)
    damped = slopes.own + (damping[:, None] * scale + 1e-14 * scale.max(-1, keepdims=True))[..., None] * np.eye(
        theta.shape[1]
    )
    step = -np.linalg.solve(damped, slopes.gradient[..., None])[..., 0]
    return theta + step, -0.5 * (slopes.gradient * step).sum(-1)


@dataclass(frozen=True)
class Fitted:
    """A solved problem: theta [P] for columns in ``units``."""

    problem: Problem
    units: dict[str, float]
    theta: Array

    def natural(self) -> dict[str, float]:
        """The parameters as people write them, for columns in ones."""
        return self.named(self.natural_of(self.theta))

    def natural_of(self, theta: Array) -> Array:
        """The same of other thetas [..., P] in these units."""
        form = self.problem.form
        return form.natural(form.rescaled(theta, self.units))

    def named(self, values: Array) -> dict[str, float]:
        """By the parameters' names, [P]."""
        return dict(zip(self.problem.form.parameters, values.tolist(), strict=True))

    def log_loss(self, columns: Columns, theta: Array | None = None) -> Array:
        """Log loss at columns in ones, [n]; with ``theta`` [..., P] in these units, [..., n]."""
        form = self.problem.form
        at = {name: columns[name] / self.units[name] for name in form.columns}
        return form.log_loss(self.theta if theta is None else theta, at)


def best_of(problem: Problem, starts: Array, *, iterations: int = 200) -> tuple[Array, float]:
    """The best minimiser [P] over ``starts`` [S, P] of one problem, and its objective."""
    reached, objectives = minimise(problem, starts, iterations=20)
    theta, objective = minimise(problem, reached[[np.argmin(objectives)]], iterations=iterations, tolerance=1e-14)
    return theta[0], float(objective[0])
