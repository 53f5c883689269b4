"""The batched solver against an exact linear answer, and what weights and batches must not change."""

from dataclasses import replace

import numpy as np
import pytest
from law_studies import EIGHT, GRID, TRUTH, loss

from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, Array, form_of
from isoflop.law.objective import Huber
from isoflop.law.solve import Problem, best_of, minimise

CENTRED = EIGHT.theta_of(np.array([1.6, 0.9, 1.8, 0.36, 0.31, 1.5, 12.0, 6.0]))


def problem(*, delta: float = 1.345, sd: float = 0.3, sigma: float = 0.01, form: str = "coupled") -> Problem:
    size, tokens = np.array(GRID).T
    size, tokens = size / 2e5, tokens / 4e6
    wiggle = 0.004 * np.cos(np.arange(len(size)))
    truth = taken_by(form)
    return Problem(
        form=form_of(form),
        at={PARAMS: size, TOKENS: tokens, UNIQUE: tokens},
        log_losses=(np.log(loss(CENTRED, size, tokens, tokens, form=form)) + wiggle)[None],
        cost=Huber(delta),
        weights=np.ones((1, len(size))),
        sigma=np.full(len(size), sigma),
        prior_mean=truth[None] + 0.1,
        prior_precision=np.full(len(truth), sd**-2.0),
    )


def taken_by(form: str) -> Array:
    """The parameters of CENTRED that a form has."""
    return CENTRED[[EIGHT.index(name) for name in form_of(form).parameters]]


def taken(given: Problem, rows: list[int], sigma: Array) -> Problem:
    at = {name: values[rows] for name, values in given.at.items()}
    return replace(given, at=at, log_losses=given.log_losses[:, rows], weights=given.weights[:, rows], sigma=sigma)


@pytest.mark.parametrize("form", ["chinchilla", "coupled"])
def test_the_minimum_is_flat_and_below_the_start(form: str) -> None:
    given, truth = problem(form=form), taken_by(form)
    theta, objective = minimise(given, truth[None] + 0.05)
    assert np.abs(given.slopes(theta).gradient).max() < 1e-3
    assert objective[0] < given.objective(truth[None])[0]
    for shift in np.eye(len(truth)) * 1e-3:
        assert given.objective(theta + shift)[0] > objective[0] < given.objective(theta - shift)[0]


def test_without_points_that_speak_the_prior_answers() -> None:
    theta, objective = minimise(problem(sigma=1e6), CENTRED[None])
    assert theta[0] == pytest.approx(CENTRED + 0.1, abs=1e-6)
    assert objective[0] == pytest.approx(0.0, abs=1e-6)


def test_a_duplicated_point_counts_as_half_the_variance() -> None:
    given = problem()
    rows, sigma = list(range(len(GRID))), given.sigma.copy()
    twice = taken(given, [*rows, 3], np.append(sigma, sigma[3]))
    sigma[3] /= np.sqrt(2)
    sharper = taken(given, rows, sigma)
    assert np.abs(given.residuals(CENTRED[None])).max() < 0.6
    (first,), _ = minimise(twice, CENTRED[None], tolerance=1e-14)
    (second,), _ = minimise(sharper, CENTRED[None], tolerance=1e-14)
    assert first == pytest.approx(second, abs=1e-6)


def test_a_batch_answers_as_its_problems_alone() -> None:
    given = problem()
    losses = given.log_losses + 0.01 * np.random.default_rng(0).standard_normal((5, len(GRID)))
    start = np.tile(CENTRED, (5, 1))
    together, _ = minimise(replace(given, log_losses=losses), start)
    for row, expected in enumerate(together):
        alone, _ = minimise(replace(given, log_losses=losses[[row]]), start[[row]])
        assert alone[0] == pytest.approx(expected, abs=1e-9)


def test_an_outlier_pulls_with_bounded_force() -> None:
    """A point 100 sd off moves a least-squares fit at least ten times as far as a robust one."""
    moved = []
    for delta in (1.345, 1e9):
        given = problem(delta=delta)
        losses = given.log_losses.copy()
        losses[0, 5] += 100 * given.sigma[5]
        clean, _ = best_of(given, CENTRED[None])
        spoiled, _ = best_of(replace(given, log_losses=losses), CENTRED[None])
        moved.append(np.abs(spoiled - clean).max())
    assert moved[1] > 10 * moved[0]


def test_a_weight_of_two_is_the_point_twice() -> None:
    given = problem()
    rows = list(range(len(GRID)))
    twice = taken(given, [*rows, 3], np.append(given.sigma, given.sigma[3]))
    weights = given.weights.copy()
    weights[0, 3] = 2.0
    (first,), _ = minimise(twice, CENTRED[None], tolerance=1e-14)
    (second,), _ = minimise(replace(given, weights=weights), CENTRED[None], tolerance=1e-14)
    assert first == pytest.approx(second, abs=1e-7)


def test_the_objective_by_hand() -> None:
    """Each of 8 prior terms is (.1 / .3)^2 / 2; the residuals are the wiggle in units of sigma."""
    residuals = 0.4 * np.cos(np.arange(len(GRID)))
    expected = 0.5 * np.sum(residuals**2) + 8 * 0.5 * (0.1 / 0.3) ** 2
    assert problem().objective(CENTRED[None])[0] == pytest.approx(expected)


def test_nonsense_is_infinitely_bad() -> None:
    nowhere = TRUTH.copy()
    nowhere[0] = np.nan
    assert problem().objective(nowhere[None])[0] == np.inf


def test_a_problem_whose_slopes_overflow_stays_where_it_is() -> None:
    given = problem()
    lost = CENTRED.copy()
    lost[0] = np.nan
    theta, objective = minimise(given, np.array([CENTRED, lost]))
    assert np.isfinite(theta[0]).all() and objective[1] == np.inf
    assert np.isnan(theta[1, 0]) and np.array_equal(theta[1, 1:], lost[1:])
