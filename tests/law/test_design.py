"""The next run: against the exact update of a linear model, and against random choice on a known law."""

import numpy as np
import pytest

from isoflop.law.design import conditioned, next_run, variance_reductions


def linear(num_draws: int = 200_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two unknowns, three runs, one target: draws, and the matrices behind them."""
    rng = np.random.default_rng(0)
    runs, target = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 0.1]]), np.array([[1.0, 3.0]])
    theta = rng.standard_normal((num_draws, 2)) * np.array([1.0, 0.5])
    return theta @ runs.T, theta @ target.T, runs, target


def exact_variance(runs: np.ndarray, target: np.ndarray, noise: float) -> float:
    """Of the target after observing ``runs``."""
    precision = np.diag([1.0, 4.0]) + runs.T @ runs / noise**2
    return float((target @ np.linalg.inv(precision) @ target.T)[0, 0])


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_reductions_are_those_of_the_exact_update(noise: float) -> None:
    at_runs, at_target, runs, target = linear()
    before = exact_variance(np.zeros((1, 2)), target, noise)
    expected = [before - exact_variance(runs[[i]], target, noise) for i in range(3)]
    assert variance_reductions(at_runs, at_target, noise) == pytest.approx(expected, rel=0.03, abs=0.01)


def test_the_cheapest_telling_run_is_taken_and_none_that_is_too_dear() -> None:
    at_runs, at_target, _, _ = linear(5000)
    costs = np.array([1.0, 100.0, 1.0])
    every = np.array([True, True, True])
    assert next_run(at_runs, at_target, np.ones(3), noise=0.1, affordable=every) == 1
    assert next_run(at_runs, at_target, costs, noise=0.1, affordable=every) == 0
    assert next_run(at_runs, at_target, np.ones(3), noise=0.1, affordable=np.array([False, False, True])) == 2
    assert next_run(at_runs, at_target, np.ones(3), noise=0.1, affordable=~every) is None


def test_draws_after_a_run_have_the_exact_variance() -> None:
    at_runs, at_target, runs, target = linear()
    _, after = conditioned(at_runs, at_target, 1, 0.3, np.random.default_rng(1))
    assert after.var() == pytest.approx(exact_variance(runs[[1]], target, 0.3), rel=0.02)
