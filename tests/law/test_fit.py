"""From a table to a stack: what is tried, how it is weighed, and what a law says of itself."""

import numpy as np
import pytest
from law_studies import COUPLED, TRUTH, loss
from test_search import grid

from isoflop.core.errors import TableError
from isoflop.law.fit import fit, suitable
from isoflop.law.forms import BATCH, LEARNING_RATE, PARAMS, TOKENS, UNIQUE
from isoflop.law.table import LOSS, Table


def tried(table: Table) -> set[tuple[str, str | None]]:
    return {(each.form.name, each.belief.name if each.belief else None) for each in suitable(table)}


def test_what_is_tried_depends_on_the_columns() -> None:
    fresh = grid()
    names = ("chinchilla", "skaling", "kaplan", "bounded")
    assert tried(fresh) == {(name, belief) for name in names for belief in ("whole", "near")}
    repeated = Table.of({**fresh.columns, UNIQUE: fresh.columns[TOKENS] / 4})
    assert {name for name, _ in tried(repeated)} == {"muennighoff", "repeated_chinchilla", "coupled", "bounded_epochs"}
    assert {belief for _, belief in tried(repeated)} == {"whole"}
    tuned = Table.of({**fresh.columns, LEARNING_RATE: np.full(50, 0.01), BATCH: np.full(50, 64.0)})
    assert tried(tuned) == {("tuned", "whole")}


def test_the_true_form_leads_and_forecasts_a_costlier_run() -> None:
    stack = fit(grid(noise=0.003, theta=COUPLED, form="skaling"), num_draws=100)
    report = stack.report()
    assert report.laws[0].form == "skaling"
    assert sum(report.weights) == pytest.approx(1.0) and report.weights == sorted(report.weights, reverse=True)
    truth = loss(COUPLED, [1e8], [1e10], [np.inf], form="skaling")[0]
    band = stack.predict(1e8, 1e10)
    assert float(band.low) < truth < float(band.high)
    assert float(band.central) == pytest.approx(truth, rel=0.015)


def test_one_form_is_the_runs_alone_and_a_stack_is_not() -> None:
    table = grid(noise=0.01)
    (alone,) = fit(table, form="chinchilla", num_draws=20).report().laws
    assert alone.belief is None
    assert all(law.belief in ("whole", "near") for law in fit(table, num_draws=20).report().laws)


def test_the_same_seed_is_the_same_law() -> None:
    first, again, other = (fit(grid(noise=0.01), num_draws=20, seed=seed).report().laws for seed in (0, 0, 1))
    assert first == again
    assert first[0].parameters == other[0].parameters and first[0].draws != other[0].draws


def test_runs_too_few_to_judge_forms_by_are_told() -> None:
    table = grid(noise=0.005).take(np.array([0, 12, 23, 37, 49, 41]))
    codes = [[warning.code for warning in fit(runs, num_draws=20).warnings] for runs in (table, grid(noise=0.005))]
    assert "form_untested" in codes[0] and "form_untested" not in codes[1]


def test_too_few_runs_and_one_size_are_refused_by_a_stack_too() -> None:
    table = grid()
    with pytest.raises(TableError, match="4 runs are fewer than the parameters of any form"):
        fit(table.take(np.array([0, 13, 27, 44])))
    one_size = np.tile(grid().columns[PARAMS][:1], 50)
    with pytest.raises(TableError, match="all runs have the same params"):
        fit(Table.of({**table.columns, PARAMS: one_size}))


def test_held_parameters_are_told_as_they_were_given() -> None:
    (law,) = fit(grid(noise=0.01), form="chinchilla", hold={"E": 1.6}, num_draws=50).report().laws
    assert law.parameters["E"] == pytest.approx(1.6, abs=1e-6)
    assert law.standard_errors["E"] < 1e-6 and law.standard_errors["alpha"] > 1e-4
    assert "E" not in law.prior_dominated


def test_repeated_runs_forecast_what_repeats() -> None:
    """Half of the runs see their tokens eight times; so does the run that is asked for."""
    size, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(3e4, 1e7, 8), np.geomspace(1e6, 1e8, 5)))
    unique = tokens / np.where(np.arange(40) % 2, 8.0, 1.0)
    measured = loss(TRUTH, size, tokens, unique, form="repeated_chinchilla")
    stack = fit(Table.of({PARAMS: size, TOKENS: tokens, UNIQUE: unique, LOSS: measured}), num_draws=30)
    truth = loss(TRUTH, [2e7], [2e8], [2.5e7], form="repeated_chinchilla")[0]
    assert float(stack.loss(2e7, 2e8, 2.5e7)) == pytest.approx(truth, rel=0.02)
    assert float(stack.loss(2e7, 2e8, 2.5e7)) > float(stack.loss(2e7, 2e8))
