"""Doubts by hand, and priors where they are believed."""

import math

import numpy as np
import pytest
from test_search import grid

from isoflop.law.belief import FAR_DOUBT, NEAR, OPEN, WHOLE, excess, falling, nearly_best
from isoflop.law.forms import PARAMS, TOKENS, form_of
from isoflop.law.table import FLOPS, LOSS, Table


def runs(costs: list[float], losses: list[float]) -> Table:
    size = np.full(len(costs), 1e6)
    tokens = np.array(costs) / 6e6
    return Table.of({PARAMS: size, TOKENS: tokens, FLOPS: np.array(costs), LOSS: np.array(losses)})


def test_excess_is_over_the_lowest_loss_that_the_cost_can_buy() -> None:
    """Given out of order; a run of 3 % more FLOPs is a rival, a run of twice as many is none."""
    table = runs([2e12, 1e12, 1.03e12, 4e12], [3.0, 4.0, 3.5, 3.3])
    assert excess(table) == pytest.approx([0.0, math.log(4 / 3.5), 0.0, math.log(1.1)])
    assert nearly_best(table).tolist() == [True, False, True, False]


def test_doubt_grows_by_efolds_and_beyond_the_frontier() -> None:
    table = runs([1e12 / math.e, 1e12, 1e12], [4.0, 3.5, 3.0])
    assert falling(table.cost, 1e12, 0.5) == pytest.approx([1.5, 1.0, 1.0])
    assert WHOLE.doubt(table) == pytest.approx([2.0, 1.0, 1.0])
    assert NEAR.doubt(table) == pytest.approx([5.0, FAR_DOUBT, 1.0])


def test_published_exponents_are_held_likely_and_nothing_else() -> None:
    form, table = form_of("skaling"), grid()
    starts = form.starts(table.places(), table.loss)
    mean, sd = WHOLE.prior(form, starts, 2.0)
    assert [mean[form.index(name)] for name in ("alpha", "beta")] == [0.34, 0.34]
    assert [sd[form.index(name)] for name in ("alpha", "beta")] == [0.07, 0.07]
    assert (mean[0], sd[0]) == pytest.approx((math.log(1.2), 0.3))
    open_mean, open_sd = OPEN.prior(form, starts, 2.0)
    others = [form.index(name) for name in ("A", "B", "p")]
    assert mean[others].tolist() == open_mean[others].tolist() and sd[others].tolist() == open_sd[others].tolist()
    assert open_sd.min() >= 0.3


def test_an_exponent_that_stands_as_a_logarithm_has_a_relative_spread() -> None:
    form, table = form_of("kaplan"), grid()
    mean, sd = WHOLE.prior(form, form.starts(table.places(), table.loss), 2.0)
    assert (mean[4], sd[4]) == pytest.approx((math.log(0.34), 0.07 / 0.34))
