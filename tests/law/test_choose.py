"""Choosing among forms by how they extrapolate."""

import numpy as np
import pytest
from law_studies import COUPLED
from test_search import grid

from isoflop.core.errors import TableError
from isoflop.law.choose import Score, relative_error, scores, weights
from isoflop.law.forms import form_of

BOTH = [form_of("chinchilla"), form_of("skaling")]


def test_the_true_form_extrapolates_best() -> None:
    plain, coupled = scores(grid(theta=COUPLED, form="skaling"), BOTH)
    assert coupled.error < 0.1 * plain.error
    assert [plain.num_parameters, coupled.num_parameters] == [5, 6]
    assert weights([plain, coupled])[1] > 0.99


def test_weights_by_hand() -> None:
    found = weights([Score("a", 0.01, 5), Score("b", 0.02, 6), Score("c", np.inf, 9)])
    assert found == pytest.approx([0.8, 0.2, 0.0])


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
