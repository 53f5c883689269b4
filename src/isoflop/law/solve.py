"""Robust maximum a posteriori fits of many problems at once: Levenberg-Marquardt on Huber's loss, batched in numpy.

The objective of one problem, theta [8] against measurements y [rows], is
    sum_i Huber_delta((sum_k contrast_ik log loss_k(theta) - y_i) / sigma_i) + sum_j ((theta_j - mean_j) / sd_j)^2 / 2,
where a row is the log loss at one place (N, D, U) or a difference of two.
Huber's loss is minimised by iteratively reweighted least squares, weights min(1, delta / |r|) (Holland & Welsch 1977).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.law import forms
from isoflop.law.forms import Array

_DIFFERENCE = 1e-5
_IDENTITY = np.eye(len(forms.PARAMETERS))
_STEP = np.vstack([_IDENTITY, -_IDENTITY]) * _DIFFERENCE


@dataclass(frozen=True)
class Problem:
    """P problems over the same places; P is 1 where all share a row."""

    form: str
    size: Array
    """[places], N over a unit near its geometric mean: theta's log A is then log A0."""
    tokens: Array
    """[places], D over its unit."""
    unique: Array
    """[places], U over the unit of D."""
    contrast: Array
    """[rows, places], the identity where every row is one place."""
    log_losses: Array
    """[P or 1, rows]"""
    sigma: Array
    """[rows], sd of a measurement."""
    prior_mean: Array
    """[P or 1, 8]"""
    prior_sd: Array
    """[8]"""
    delta: float

    def at(self, index: NDArray[np.intp]) -> Problem:
        """The problems at ``index`` [Q]."""
        losses, means = self.log_losses, self.prior_mean
        return replace(
            self,
            log_losses=losses if len(losses) == 1 else losses[index],
            prior_mean=means if len(means) == 1 else means[index],
        )

    def first(self, num_rows: int) -> Problem:
        """The same problems without the rows after the first ``num_rows``."""
        return replace(
            self,
            contrast=self.contrast[:num_rows],
            log_losses=self.log_losses[:, :num_rows],
            sigma=self.sigma[:num_rows],
        )

    def residuals(self, theta: Array) -> Array:
        """Standardised residuals [P, rows] of theta [P, 8]."""
        predicted = forms.loss(theta, self.size, self.tokens, self.unique, form=self.form)
        result: Array = (np.log(predicted) @ self.contrast.T - self.log_losses) / self.sigma
        return result

    def objective(self, theta: Array) -> Array:
        """[P]; infinite where theta [P, 8] makes no sense."""
        deviations = (theta - self.prior_mean) / self.prior_sd
        total = forms.huber(self.residuals(theta), self.delta).sum(-1) + 0.5 * (deviations**2).sum(-1)
        result: Array = np.where(np.isfinite(total), total, np.inf)
        return result

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """Gradient [P, 8] and the rows' part of the Gauss-Newton curvature [P, 8, 8]."""
        jacobian = self._jacobian(theta)
        residuals = self.residuals(theta)
        weights = self.weights(residuals)
        gradient = ((weights * residuals)[:, None, :] @ jacobian)[:, 0] + (theta - self.prior_mean) / self.prior_sd**2
        return gradient, np.swapaxes(jacobian * weights[..., None], 1, 2) @ jacobian

    def weights(self, residuals: Array) -> Array:
        """Huber's weights of standardised residuals: 1 inside delta, falling beyond."""
        result: Array = self.delta / np.maximum(np.abs(residuals), self.delta)
        return result

    def _jacobian(self, theta: Array) -> Array:
        """[P, rows, 8] by central differences, all sixteen neighbours in one call."""
        near = forms.loss(theta[:, None, :] + _STEP, self.size, self.tokens, self.unique, form=self.form)
        slopes = np.log(near[:, : near.shape[1] // 2] / near[:, near.shape[1] // 2 :]) / (2 * _DIFFERENCE)
        result: Array = self.contrast @ np.swapaxes(slopes, 1, 2) / self.sigma[:, None]
        return result


def minimise(problem: Problem, start: Array, *, iterations: int = 60, tolerance: float = 1e-10) -> tuple[Array, Array]:
    """The minimisers [P, 8] found from ``start`` [P, 8], and their objectives [P].

    A problem is done when its next step promises to lower the objective by no more than ``tolerance`` of itself, or
    after ``iterations``.
    """
    theta, objective = start.copy(), problem.objective(start)
    damping = np.full(len(theta), 1e-3)
    unfinished = np.arange(len(theta))
    for _ in range(iterations):
        here = unfinished
        part = problem.at(here)
        trial, promised = _step(part, theta[here], damping[here])
        with np.errstate(over="ignore", invalid="ignore"):
            reached = part.objective(trial)
        better = reached < objective[here]
        unfinished = here[promised > tolerance * objective[here]]
        theta[here] = np.where(better[:, None], trial, theta[here])
        objective[here] = np.where(better, reached, objective[here])
        damping[here] = np.clip(damping[here] * np.where(better, 0.2, 5.0), 1e-9, 1e9)
        if not unfinished.size:
            break
    return theta, objective


def _step(problem: Problem, theta: Array, damping: Array) -> tuple[Array, Array]:
    """The damped Gauss-Newton step's end [P, 8], and the decrease [P] it promises to first order, halved."""
    gradient, curvature = problem.slopes(theta)
    curvature = curvature + np.diag(problem.prior_sd**-2.0)
    damped = curvature + damping[:, None, None] * curvature * _IDENTITY
    step = -np.linalg.solve(damped, gradient[..., None])[..., 0]
    return theta + step, -0.5 * (gradient * step).sum(-1)


def best_of(problem: Problem, starts: Array, *, iterations: int = 200) -> tuple[Array, float]:
    """The best minimiser [8] over ``starts`` [S, 8] of one problem, and its objective."""
    reached, objectives = minimise(problem, starts, iterations=20)
    theta, objective = minimise(problem, reached[[np.argmin(objectives)]], iterations=iterations, tolerance=1e-14)
    return theta[0], float(objective[0])
