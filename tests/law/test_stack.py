"""Several forms as one law: the mean of logs, the spread between them, and sizes under every draw."""

import numpy as np
import pytest
from test_optimum import closed_form
from test_search import grid

from isoflop.core.products import StackReport
from isoflop.law.fit import fit
from isoflop.law.optimum import for_flops
from isoflop.law.predict import Z90
from isoflop.law.stack import Stack


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
