"""Which run to do next: the one that makes the forecast at the target surer by the most a FLOP.

A law is not one curve but all that fit the runs so far; how their losses at a runnable pilot and at the target go
together says what measuring the pilot would tell. With draws of both from the law's posterior, observing pilot i
(noise sd sigma) shrinks the target's variance by

    sum_t cov(y_i, y_t)^2 / (var(y_i) + sigma^2),

which is exact for a linear model and Gaussian draws (V-optimal design: Atkinson, Donev & Tobias 2007, ch. 10; the
ensemble form of the update: Evensen 2003), and needs no derivatives of the form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.law.forms import Array


def variance_reductions(at_pool: Array, at_targets: Array, noise: float | Array) -> Array:
    """[pool]: by how much observing each run shrinks the targets' summed variance.

    ``at_pool`` [K, pool] and ``at_targets`` [K, targets] are log losses of the same K draws.
    """
    pool, targets = at_pool - at_pool.mean(axis=0), at_targets - at_targets.mean(axis=0)
    covariance = pool.T @ targets / (len(pool) - 1)
    result: Array = (covariance**2).sum(axis=1) / (pool.var(axis=0, ddof=1) + noise**2)
    return result


def next_run(
    at_pool: Array, at_targets: Array, costs: Array, *, noise: float | Array, affordable: NDArray[np.bool_]
) -> int | None:
    """The affordable run of the largest reduction a FLOP; None where nothing can be afforded or told."""
    worth = np.where(affordable, variance_reductions(at_pool, at_targets, noise) / costs, 0.0)
    best = int(np.argmax(worth))
    return best if worth[best] > 0 else None


def conditioned(
    at_pool: Array, at_targets: Array, chosen: int, noise: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The draws as they would be after the chosen run, whatever it shows: for choosing several before any is run.

    Each draw moves by its gain times the gap between a noisy observation of their mean and its own (Evensen 2003).
    """
    seen = at_pool[:, chosen]
    gap = seen.mean() + noise * rng.standard_normal(len(seen)) - seen
    spread = seen.var(ddof=1) + noise**2
    moved = []
    for values in (at_pool, at_targets):
        gain = ((values - values.mean(axis=0)).T @ (seen - seen.mean())) / (len(seen) - 1) / spread
        moved.append(values + gap[:, None] * gain)
    return moved[0], moved[1]
