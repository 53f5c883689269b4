"""Runs that bend the law are named, and only they."""

import numpy as np
from law_studies import hoffmann_runs, kept_by_besiroglu
from test_search import grid

from isoflop.law.choose import Candidate
from isoflop.law.forms import form_of
from isoflop.law.leverage import Leverage, leverage
from isoflop.law.resample import resampled
from isoflop.law.search import best_fit
from isoflop.law.table import Table


def found(table: Table) -> Leverage | None:
    optimum = best_fit(table, form_of("chinchilla"))
    draws = optimum.natural_of(resampled(table, optimum, num_draws=200))
    return leverage(table, Candidate(form_of("chinchilla")), draws.std(axis=0, ddof=1))


def test_the_five_runs_that_besiroglu_dropped_are_named() -> None:
    runs = hoffmann_runs()
    told = found(runs)
    assert told is not None
    highest = {runs.rows[i] for i in np.argsort(runs.loss)[-5:]}
    assert set(told.rows) == highest
    assert told.warning().code == "outlier_leverage" and told.rows[0] in told.warning().message


def test_runs_without_outliers_name_none() -> None:
    assert found(grid(noise=0.01)) is None


def test_without_the_five_the_exponents_are_those_of_besiroglu() -> None:
    told, kept = found(hoffmann_runs()), best_fit(kept_by_besiroglu(hoffmann_runs()), form_of("chinchilla")).natural()
    assert told is not None
    assert abs(told.without["beta"] - kept["beta"]) < 0.5 * abs(told.with_them["beta"] - kept["beta"])
