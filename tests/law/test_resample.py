"""Intervals by resampling: the published standard errors, and what each way of it keeps together."""

import numpy as np
import pytest
from law_studies import hoffmann_runs, kept_by_besiroglu
from test_search import grid

from isoflop.law.forms import PARAMS, form_of
from isoflop.law.resample import refitted, resampled
from isoflop.law.search import best_fit
from isoflop.law.table import Table


def test_standard_errors_as_published_by_besiroglu() -> None:
    """Their 4,000 samples (numpy's seed 42): A 124.58, B 1293.23, E .03, alpha and beta .02; a 95 % in [.481, .556]."""
    runs = kept_by_besiroglu(hoffmann_runs())
    found, generator = best_fit(runs, form_of("chinchilla")), np.random.RandomState(42)
    weights = np.array([np.bincount(generator.choice(240, 240), minlength=240) for _ in range(4000)], dtype=float)
    theta = refitted(found, weights=weights)
    values = found.natural_of(theta)
    errors = found.named(values.std(axis=0))
    assert errors["A"] == pytest.approx(124.58, rel=0.02)
    assert errors["B"] == pytest.approx(1293.23, rel=0.02)
    assert [errors[name] for name in ("E", "alpha", "beta")] == pytest.approx([0.0257, 0.0154, 0.0206], rel=0.02)
    share = values[:, 4] / (values[:, 3] + values[:, 4])
    assert np.quantile(share, [0.025, 0.975]) == pytest.approx([0.481, 0.556], abs=2e-3)


@pytest.mark.parametrize("way", ["points", "clusters", "noise"])
def test_spread_is_of_the_size_of_the_noise(way: str) -> None:
    """The sd of alpha over resamples against that over fifty fresh noises, within a factor of two."""
    form = form_of("chinchilla")
    fresh = np.std([best_fit(grid(noise=0.01, seed=seed), form).theta[3] for seed in range(50)])
    runs = grid(noise=0.01)
    theta = resampled(runs, best_fit(runs, form), way=way, num_draws=300, noise=0.01)  # type: ignore[arg-type]
    assert theta.shape == (300, 5)
    assert 0.5 < np.std(theta[:, 3]) / fresh < 2.0


def test_the_same_seed_gives_the_same_draws() -> None:
    runs = grid(noise=0.01)
    found = best_fit(runs, form_of("chinchilla"))
    first, again, other = (resampled(runs, found, num_draws=20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_clusters_are_drawn_whole() -> None:
    """Where the runs of a size share their luck, drawing single runs finds too little spread."""
    runs = grid()
    sizes = np.unique(runs.columns[PARAMS])
    luck = 0.02 * np.random.default_rng(3).standard_normal(len(sizes))
    shared = Table.of({**runs.columns, "loss": runs.loss * np.exp(luck[np.searchsorted(sizes, runs.columns[PARAMS])])})
    found = best_fit(shared, form_of("chinchilla"))
    points, clusters = (
        np.std(resampled(shared, found, way=way, num_draws=200)[:, 3])  # type: ignore[arg-type]
        for way in ("points", "clusters")
    )
    assert clusters > 1.3 * points
