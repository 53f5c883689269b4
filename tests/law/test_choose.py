"""Choosing among forms by how they extrapolate."""

import numpy as np
import pytest
from law_studies import COUPLED
from test_search import grid

from isoflop.core.errors import TableError
from isoflop.law.belief import NEAR, NEARLY, WHOLE, excess
from isoflop.law.choose import Candidate, Score, best_by_form, relative_error, scores, weights
from isoflop.law.forms import form_of
from isoflop.law.table import LOSS, Table

BOTH = [Candidate(form_of("chinchilla")), Candidate(form_of("skaling"))]


def test_the_true_form_extrapolates_best() -> None:
    plain, coupled = scores(grid(theta=COUPLED, form="skaling"), BOTH)
    assert coupled.error < 0.1 * plain.error
    assert weights([plain, coupled])[1] > 0.99


def test_weights_by_hand() -> None:
    plain, coupled = BOTH
    found = weights([Score(plain, 0.01), Score(coupled, 0.02), Score(plain, np.inf)])
    assert found == pytest.approx([16 / 17, 1 / 17, 0.0])


def test_a_form_stands_by_its_better_belief() -> None:
    form = form_of("skaling")
    scored = [Score(BOTH[0], 0.3), Score(Candidate(form, WHOLE), 0.2), Score(Candidate(form, NEAR), 0.1)]
    assert best_by_form(scored) == [scored[0], scored[2]]


def test_with_near_only_runs_near_the_frontier_are_judged() -> None:
    """Runs of one size too large for their tokens are far off the law; judged they spoil the score."""
    table = grid()
    spoiled = table.loss * np.where(excess(table) > NEARLY, 1.5, 1.0)
    spoiled_table = Table({**table.columns, LOSS: spoiled}, table.rows)
    candidate = [Candidate(form_of("chinchilla"), NEAR)]
    (judged,), (all_judged,) = (scores(spoiled_table, candidate, near=near) for near in (True, False))
    assert judged.error < 0.02 and all_judged.error > 0.1


def test_a_form_that_cannot_be_fitted_has_no_weight() -> None:
    """Seven runs, of which the first origin leaves four."""
    runs = grid().take(np.arange(0, 50, 8))
    few = scores(runs, BOTH)
    assert all(np.isinf(score.error) for score in few)
    with pytest.raises(TableError, match="no form could be fitted"):
        weights(few)


def test_the_error_is_relative_and_absolute() -> None:
    assert relative_error(np.array([1.1, 1.8]), np.array([1.0, 2.0])) == pytest.approx(0.1)
    assert relative_error(np.array([np.nan]), np.array([1.0])) == np.inf
