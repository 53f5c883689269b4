"""Several forms as one law: the mean of logs, the spread between them, and sizes under every draw."""

from dataclasses import replace

import numpy as np
import pytest
from test_optimum import closed_form
from test_search import grid

from isoflop.core.products import StackReport
from isoflop.law.fit import fit
from isoflop.law.optimum import diminishing, for_flops, price_of_smaller
from isoflop.law.predict import Z90
from isoflop.law.stack import DOUBLINGS, Stack


def of_two(weights: list[float]) -> tuple[Stack, Stack, Stack]:
    """Both laws in one stack, and each alone."""
    table = grid(noise=0.01)
    alone = [fit(table, form=name, num_draws=200) for name in ("chinchilla", "kaplan")]
    laws = [stack.report().laws[0] for stack in alone]
    return Stack.from_report(StackReport(laws, weights, [0.01, 0.01], [], 0.1)), *alone


def test_the_mean_is_of_logs_and_the_spread_is_added() -> None:
    both, first, second = of_two([0.75, 0.25])
    where = (1e9, 1e11)
    logs = [np.log(float(stack.loss(*where))) for stack in (first, second)]
    middle = 0.75 * logs[0] + 0.25 * logs[1]
    assert float(both.loss(*where)) == pytest.approx(np.exp(middle))
    band, one, two = (stack.predict(*where) for stack in (both, first, second))
    between = Z90 * np.sqrt(0.75 * (logs[0] - middle) ** 2 + 0.25 * (logs[1] - middle) ** 2)
    below = 0.75 * np.log(one.central / one.low) + 0.25 * np.log(two.central / two.low)
    assert float(np.log(band.central / band.low)) == pytest.approx(float(np.hypot(below, between)))


def test_best_sizes_of_draws_surround_the_best_of_the_law() -> None:
    stack = fit(grid(noise=0.02), form="chinchilla", num_draws=300)
    best = stack.optimum(1e15).params
    sizes = stack.best_sizes(best, for_flops(1e15))
    low, middle, high = np.quantile(sizes, [0.05, 0.5, 0.95])
    assert low < best < high and middle == pytest.approx(best, rel=0.15)
    found = stack.report().laws[0].parameters
    assert best == pytest.approx(closed_form(1e15, *(found[name] for name in ("A", "B", "alpha", "beta"))), rel=1e-3)


def test_weights_share_the_draws() -> None:
    both, first, second = of_two([0.8, 0.2])
    best = both.optimum(1e15).params
    assert len(both.best_sizes(best, for_flops(1e15))) == 160 + 40
    assert len(first.best_sizes(best, for_flops(1e15))) == len(second.best_sizes(best, for_flops(1e15))) == 200


def certain(stack: Stack) -> Stack:
    """The same law without doubt: every draw is the best fit."""
    laws = [replace(law, draws=[list(law.parameters.values())] * 3) for law in stack.report().laws]
    return Stack.from_report(replace(stack.report(), laws=laws))


def test_without_doubt_prices_of_a_smaller_model_are_the_price() -> None:
    stack = certain(fit(grid(), form="chinchilla", num_draws=10))
    best = stack.optimum(1e15)
    price = price_of_smaller(stack.loss, 1e15, 3.0)
    assert stack.prices_of_smaller(best, 3.0) == pytest.approx([price] * 3, rel=5e-3)
    assert price > 1.05
    assert stack.prices_of_smaller(replace(best, tokens=1e30), 3.0).tolist() == [np.inf] * 3


def test_without_doubt_returns_diminish_where_the_law_says() -> None:
    stack = certain(fit(grid(), form="chinchilla", num_draws=10))
    here = diminishing(stack.loss, gain=0.01, cheapest_flops=1e10, dearest_flops=1e25)
    assert stack.diminishing_from(here / 37, 0.01) == pytest.approx([here] * 3, rel=0.01)
    assert stack.diminishing_from(here, 1e-9).tolist() == [np.inf] * 3
    assert stack.diminishing_from(1e15, 0.9) == pytest.approx([1e15 * 2.0 ** DOUBLINGS[0]] * 3)


def test_draws_spread_about_the_price_and_the_point_of_diminishing_returns() -> None:
    stack = fit(grid(noise=0.02), form="chinchilla", num_draws=200)
    best = stack.optimum(1e15)
    for draws, found in (
        (stack.prices_of_smaller(best, 2.0), price_of_smaller(stack.loss, 1e15, 2.0)),
        (
            stack.diminishing_from(1e15, 0.01),
            diminishing(stack.loss, gain=0.01, cheapest_flops=1e10, dearest_flops=1e25),
        ),
    ):
        low, high = np.quantile(draws, [0.05, 0.95])
        assert low < found < high
