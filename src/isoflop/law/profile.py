"""Profile likelihood: the best objective at each value of one parameter, the others free.

A parameter whose profile hardly rises towards one side is not identified from that side, whatever its standard error
says (Raue et al. 2009, Bioinformatics 25(15)): of Muennighoff's 182 runs R_D* = 15 and R_D* = 1,000 fit within .4 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from isoflop.law.forms import Array
from isoflop.law.search import Optimum
from isoflop.law.solve import minimise

STIFFNESS = 1e8
"""Precision, in units of the mean curvature, that holds a parameter at a value."""
CHI_SQUARE = 3.841458820694124
"""95 % quantile with one degree of freedom."""
REACH, STEPS, HALVINGS = 6.0, 25, 10
"""From exp(-6) to exp(6) times the optimum, an exponent from -2 to 4 times, in so many steps a side; ends are halved
so often."""
FAR = math.log(10.0)


@dataclass(frozen=True)
class Profile:
    """Of one parameter."""

    parameter: str
    values: Array
    """Natural, rising; the optimum is among them."""
    objectives: Array
    low: float | None
    """Ends of the 95 % interval: None where the profile does not rise enough within the values tried."""
    high: float | None

    @property
    def identified(self) -> bool:
        return self.low is not None and self.high is not None


def profile(optimum: Optimum, parameter: str) -> Profile:
    """Refits at values on both sides of the optimum, each from its neighbour.

    The interval ends where the objective exceeds its least by the share CHI_SQUARE / (n - P), the profile t-interval of
    least squares with its scale estimated; for Huber's cost that is an approximation. Raises ``ValueError`` for an
    unknown parameter, and for a fit under a belief.
    """
    optimum = _in_ones(optimum)
    form = optimum.problem.form
    place = form.index(parameter)
    spans = np.linspace(0, REACH, STEPS + 1)[1:]
    middle = optimum.theta[place]
    scale = 1.0 if parameter in form.logarithmic else max(abs(float(middle)), 1e-3) / 2
    below, above = (_walk(optimum, place, middle + sign * scale * spans, optimum.theta) for sign in (-1.0, 1.0))
    thetas = np.concatenate([below[::-1], optimum.theta[None], above])
    objectives = optimum.problem.objective(thetas)
    allowed = _allowed(optimum, float(objectives.min()))
    inside = np.flatnonzero(objectives <= allowed)
    ends = [
        _end(optimum, place, thetas, inside[side], outside, allowed)
        for side, outside in ((0, inside[0] - 1), (-1, inside[-1] + 1))
    ]
    low, high = (None if end is None else float(_natural(optimum, end)[place]) for end in ends)
    return Profile(parameter, _natural(optimum, thetas)[:, place], objectives, low, high)


def flat(optimum: Optimum) -> list[str]:
    """The free parameters that may move far to one side (tenfold; an exponent by its whole size) for hardly any price.

    The same threshold as a profile's ends, at two places alone.
    """
    optimum = _in_ones(optimum)
    form, allowed = optimum.problem.form, _allowed(optimum, optimum.objective)
    found = []
    for place, name in enumerate(form.parameters):
        reach = FAR if name in form.logarithmic else abs(float(optimum.theta[place]))
        if optimum.problem.prior_precision[place] > 0 or reach == 0:
            continue
        moved = [
            _walk(optimum, place, optimum.theta[place : place + 1] + side, optimum.theta) for side in (-reach, reach)
        ]
        if (optimum.problem.objective(np.concatenate(moved)) <= allowed).any():
            found.append(name)
    return found


def _in_ones(optimum: Optimum) -> Optimum:
    """The same fit for columns in ones: there alone a tenfold A is a tenfold A whatever alpha does.

    Raises ``ValueError`` for a fit under a belief, whose prior speaks of other units.
    """
    problem, units = optimum.problem, optimum.units
    if all(unit == 1.0 for unit in units.values()):
        return optimum
    if problem.prior_precision.any():
        raise ValueError("profiles are of fits by the runs alone")
    at = {name: values * units[name] for name, values in problem.at.items()}
    theta = problem.form.rescaled(optimum.theta, units)
    return replace(optimum, problem=replace(problem, at=at), theta=theta, units=dict.fromkeys(units, 1.0))


def _allowed(optimum: Optimum, least: float) -> float:
    num_free = len(optimum.theta) - int((optimum.problem.prior_precision > 0).sum())
    return least * (1 + CHI_SQUARE / max(len(optimum.problem.sigma) - num_free, 1))


def _natural(optimum: Optimum, theta: Array) -> Array:
    with np.errstate(over="ignore"):
        return optimum.natural_of(theta)


def _walk(optimum: Optimum, place: int, values: Array, theta: Array) -> Array:
    """[values, P]: the fits with one parameter held at each value in turn, the first from ``theta``."""
    problem, found = optimum.problem, []
    curvature = float((np.diag(problem.slopes(optimum.theta[None]).above[0]) - problem.prior_precision).mean())
    precision = problem.prior_precision.copy()
    precision[place] = STIFFNESS * curvature
    for value in values:
        mean, start = problem.prior_mean.copy(), theta.copy()
        mean[:, place] = start[place] = value
        held = replace(problem, prior_mean=mean, prior_precision=precision)
        theta = minimise(held, start[None], iterations=150)[0][0]
        found.append(theta)
    return np.array(found)


def _end(optimum: Optimum, place: int, thetas: Array, inside: int, outside: int, allowed: float) -> Array | None:
    """[P] where the profile passes ``allowed``, by halving; None where it does not within the values tried."""
    if not 0 <= outside < len(thetas):
        return None
    near, far = thetas[inside], float(thetas[outside, place])
    for _ in range(HALVINGS):
        middle = _walk(optimum, place, np.array([(near[place] + far) / 2]), near)[0]
        if optimum.problem.objective(middle[None])[0] <= allowed:
            near = middle
        else:
            far = float(middle[place])
    return near
