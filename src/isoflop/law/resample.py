"""How far a fit is to be trusted: refitted to resampled runs, all at once.

Three ways. ``points`` draws runs with replacement (Efron 1979); ``clusters`` draws whole sizes, for runs of one size
share a trunk, a shape and their luck; ``noise`` keeps the runs and adds their seed noise. Every refit starts at the
optimum of the runs themselves.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np

from isoflop.law.forms import PARAMS, Array
from isoflop.law.search import Optimum
from isoflop.law.solve import minimise
from isoflop.law.table import Table

Way = Literal["points", "clusters", "noise"]
CHUNK = 250
"""Refits that are worked on together: their arrays stay in the cache."""
NUM_THREADS = 2


def resampled(
    table: Table, optimum: Optimum, *, way: Way = "points", num_draws: int = 1000, seed: int = 0, noise: float = 0.0
) -> Array:
    """[num_draws, P] thetas in the optimum's units; ``noise`` is the sd of a log loss, for that way alone."""
    rng = np.random.default_rng(seed)
    if way == "noise":
        shifts = noise * rng.standard_normal((num_draws, len(table)))
        return refitted(optimum, log_losses=optimum.problem.log_losses + shifts)
    if way == "clusters":
        _, cluster = np.unique(table.columns[PARAMS], return_inverse=True)
        return refitted(optimum, weights=counts(rng, num_draws, int(cluster.max()) + 1)[:, cluster])
    return refitted(optimum, weights=counts(rng, num_draws, len(table)))


def counts(rng: np.random.Generator, num_draws: int, num_points: int) -> Array:
    """[num_draws, num_points]: how often each point is drawn in samples of as many with replacement."""
    return rng.multinomial(num_points, np.full(num_points, 1 / num_points), size=num_draws).astype(float)


def refitted(optimum: Optimum, *, weights: Array | None = None, log_losses: Array | None = None) -> Array:
    """[K, P]: the fits to K variants of the problem, each with its own weights or log losses [K, points]."""
    variants = weights if weights is not None else log_losses
    assert variants is not None
    chunks = np.array_split(np.arange(len(variants)), max(1, len(variants) // CHUNK))

    def fitted(index: Array) -> Array:
        part = replace(
            optimum.problem,
            weights=optimum.problem.weights if weights is None else weights[index],
            log_losses=optimum.problem.log_losses if log_losses is None else log_losses[index],
        )
        theta, _ = minimise(part, np.tile(optimum.theta, (len(index), 1)), tolerance=1e-7)
        return theta

    with ThreadPoolExecutor(NUM_THREADS) as pool:  # numpy lets go of the interpreter in its loops
        return np.concatenate(list(pool.map(fitted, chunks)))
