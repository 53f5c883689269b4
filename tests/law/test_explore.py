"""Choosing runs one after another: within the budget, better than the cheapest, the same again from the same seed."""

import numpy as np
import pytest
from law_studies import TRUTH, loss

from isoflop.core.errors import TableError
from isoflop.law.explore import Explorer
from isoflop.law.forms import PARAMS, TOKENS, form_of

SIZE, RUN_TOKENS = (each.ravel() for each in np.meshgrid(np.geomspace(3e4, 3e7, 12), np.geomspace(1e6, 1e9, 8)))
POOL = {PARAMS: SIZE, TOKENS: RUN_TOKENS}
COSTS = 6 * SIZE * RUN_TOKENS
TARGETS = {PARAMS: np.array([1e8, 1e8, 3e8]), TOKENS: np.array([2e9, 6e9, 6e9])}
BUDGET = 0.02 * float(COSTS.sum())


def measured(noise: float = 0.005) -> np.ndarray:
    clean = loss(TRUTH, SIZE, RUN_TOKENS, np.full(len(SIZE), np.inf), form="chinchilla")
    return clean * np.exp(noise * np.random.default_rng(3).standard_normal(len(SIZE)))


def explored(*, seed: int = 0, forms: tuple[str, ...] = ("chinchilla", "skaling")) -> Explorer:
    explorer, losses = Explorer([form_of(name) for name in forms], POOL, COSTS, TARGETS, seed=seed), measured()
    while runs := explorer.ask(BUDGET):
        for run in runs:
            explorer.tell(run, float(losses[run]))
    return explorer


def test_the_forecast_is_near_and_says_how_near() -> None:
    explorer = explored()
    forecast = explorer.forecast()
    truth = loss(TRUTH, TARGETS[PARAMS], TARGETS[TOKENS], np.full(3, np.inf), form="chinchilla")
    off = np.abs(forecast.loss / truth - 1)
    assert off.max() < 0.04
    assert (off < 4 * forecast.sd).all() and forecast.sd.max() < 0.05


def test_the_budget_holds_and_no_run_is_done_twice() -> None:
    explorer = explored()
    assert explorer.spent <= BUDGET
    assert len(set(explorer.done)) == len(explorer.done) >= 8
    assert explorer.ask(BUDGET) == []


def test_chosen_runs_beat_random_ones() -> None:
    """Of the same budget, by how sure the same kind of forecast is in the mean over five seeds."""
    chosen, drawn = [], []
    for seed in range(5):
        chosen.append(explored(forms=("chinchilla",), seed=seed).forecast().sd.mean())
        other, order = (
            Explorer([form_of("chinchilla")], POOL, COSTS, TARGETS),
            np.random.default_rng(seed).permutation(96),
        )
        for run in order.tolist():
            if other.spent + COSTS[run] <= BUDGET:
                other.tell(run, float(measured()[run]))
        drawn.append(other.forecast().sd.mean())
    assert np.mean(chosen) < 0.9 * np.mean(drawn)


def test_the_same_seed_does_the_same() -> None:
    first, again, other = explored(seed=1), explored(seed=1), explored(seed=2)
    assert first.done == again.done != other.done
    assert first.forecast().loss == pytest.approx(again.forecast().loss, rel=1e-12)


def test_enough_is_enough() -> None:
    explorer, losses = Explorer([form_of("chinchilla")], POOL, COSTS, TARGETS, enough=0.02), measured()
    while runs := explorer.ask(float(COSTS.sum())):
        for run in runs:
            explorer.tell(run, float(losses[run]))
    assert explorer.forecast().sd.max() < 0.03
    assert explorer.spent < 0.1 * float(COSTS.sum())


def test_nothing_is_asked_for_that_cannot_be_paid() -> None:
    explorer = Explorer([form_of("chinchilla")], POOL, COSTS, TARGETS)
    assert explorer.ask(0.5 * float(COSTS.min())) == []
    with pytest.raises(TableError, match="no run was done yet"):
        explorer.forecast()


def test_equal_places_are_each_asked_for_once_and_missing_columns_are_named() -> None:
    twins = {name: np.repeat(values[:4], 5) for name, values in POOL.items()}
    explorer = Explorer([form_of("chinchilla")], twins, np.ones(20), TARGETS)
    runs = explorer.ask(100.0)
    assert len(runs) == len(set(runs)) == 7
    with pytest.raises(TableError, match="tuned needs a column learning_rate"):
        Explorer([form_of("tuned")], POOL, COSTS, TARGETS)


def test_unique_tokens_are_unlimited_where_nothing_is_said_of_them() -> None:
    explorer = Explorer([form_of("coupled"), form_of("chinchilla")], POOL, COSTS, TARGETS)
    explorer.tell(3, float(measured()[3]))
    forecast = explorer.forecast()
    assert np.isfinite(forecast.loss).all() and np.isfinite(forecast.sd).all()
