"""Optima against closed forms and published ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.errors import TableError
from isoflop.law.forms import PARAMS, TOKENS, Array, form_of
from isoflop.law.optimum import cheapest, diminishing, for_flops, optimum, price_of_smaller, tokens_for

CHINCHILLA = form_of("chinchilla")


def law(e: float, a: float, b: float, alpha: float, beta: float):  # noqa: ANN201
    theta = CHINCHILLA.theta_of(np.array([e, a, b, alpha, beta]))

    def loss(params: Array, tokens: Array) -> Array:
        return CHINCHILLA.loss(theta, {PARAMS: params, TOKENS: tokens})

    return loss


HOFFMANN = law(math.exp(0.5267228), math.exp(6.0073404), math.exp(6.0179186), 0.33917084, 0.2849083)
"""Unrounded, from the TeX source (scaling.md sec. 3)."""
ROUNDED = law(1.69, 406.4, 410.7, 0.34, 0.28)
SARDANA = law(1.69, 406.4, 410.7, 0.336, 0.283)


def closed_form(flops: float, a: float, b: float, alpha: float, beta: float) -> float:
    """Hoffmann et al. 2022, eq. 4."""
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    return ratio * (flops / 6) ** (beta / (alpha + beta))


@given(flops=st.floats(1e12, 1e26), alpha=st.floats(0.25, 0.5), beta=st.floats(0.25, 0.5))
def test_the_best_size_is_the_closed_form_s(flops: float, alpha: float, beta: float) -> None:
    found = optimum(law(1.7, 400.0, 400.0, alpha, beta), for_flops(flops))
    assert found.params == pytest.approx(closed_form(flops, 400.0, 400.0, alpha, beta), rel=1e-5)
    assert found.params * found.tokens * 6 == pytest.approx(flops)


def test_the_famous_forty_billion_need_unrounded_constants() -> None:
    """At 5.76e23 FLOPs: 40.4 B by the TeX source's constants, 32.2 B by the printed ones (scaling.md sec. 3)."""
    assert optimum(HOFFMANN, for_flops(5.76e23)).params == pytest.approx(40.4e9, rel=2e-3)
    assert optimum(ROUNDED, for_flops(5.76e23)).params == pytest.approx(32.2e9, rel=2e-3)


@pytest.mark.parametrize(
    ("params", "flops", "tokens"), [(4e8, 2.21e19, 9.2e9), (1e9, 1.62e20, 27.1e9), (1e10, 2.46e22, 410.1e9)]
)
def test_hoffmann_table_a3_approach_3(params: float, flops: float, tokens: float) -> None:
    """Their constants give 3 to 5 % less than their table's sizes (which scaling.md recalls from memory)."""
    found = optimum(HOFFMANN, for_flops(flops))
    assert found.params == pytest.approx(params, rel=0.05)
    assert found.tokens == pytest.approx(tokens, rel=0.05)


def test_thirteen_billion_become_seven_when_two_trillion_tokens_are_served() -> None:
    """Sardana et al. 2024: a 13B-quality model for 2e12 inference tokens is 7B, saving 1.7e22 FLOPs, 17 %."""
    params = np.array([13e9])
    quality = min_loss_of(params[0])
    alone = 6 * 13e9 * float(tokens_for(SARDANA, params, quality)[0]) + 2 * 13e9 * 2e12
    best, flops = cheapest(SARDANA, quality, inference_tokens=2e12)
    assert best.params == pytest.approx(6.97e9, rel=0.01)
    assert 1 - flops / alone == pytest.approx(0.174, abs=2e-3)
    assert alone - flops == pytest.approx(1.69e22, rel=0.02)


def min_loss_of(params: float) -> float:
    """The loss of a size trained as long as is best for its own training FLOPs."""
    flops = np.geomspace(1e20, 1e25, 4001)
    sizes = np.array([closed_form(c, 406.4, 410.7, 0.336, 0.283) for c in flops])
    cost = float(np.exp(np.interp(np.log(params), np.log(sizes), np.log(flops))))
    return optimum(SARDANA, for_flops(cost)).loss


def test_without_inference_the_cheapest_is_compute_optimal() -> None:
    best = optimum(HOFFMANN, for_flops(1e22))
    again, flops = cheapest(HOFFMANN, best.loss)
    assert flops == pytest.approx(1e22, rel=1e-6) and again.params == pytest.approx(best.params, rel=1e-3)


def test_a_loss_below_the_floor_is_refused() -> None:
    with pytest.raises(TableError, match="no size reaches a loss of 1"):
        cheapest(HOFFMANN, 1.6)


def test_smaller_models_cost_more_and_the_best_one_nothing() -> None:
    prices = [price_of_smaller(HOFFMANN, 1e22, times) for times in (1.0, 1.5, 2.0, 4.0)]
    assert prices[0] == pytest.approx(1.0, rel=1e-5)
    assert prices == sorted(prices) and prices[-1] > 1.5


def test_doubling_gains_less_and_less() -> None:
    here = diminishing(HOFFMANN, gain=0.02, cheapest_flops=1e17, dearest_flops=1e30)
    once, twice = (optimum(HOFFMANN, for_flops(factor * here)).loss for factor in (1, 2))
    assert 1 - twice / once == pytest.approx(0.02, rel=1e-4)
    assert diminishing(HOFFMANN, gain=0.5, cheapest_flops=1e17, dearest_flops=1e30) == 1e17
    assert diminishing(HOFFMANN, gain=1e-9, cheapest_flops=1e17, dearest_flops=1e20) == np.inf


def test_time_instead_of_flops_moves_the_best_size() -> None:
    """Where throughput in FLOP/s rises with size, time wants a larger model than FLOPs do."""
    flops = optimum(HOFFMANN, for_flops(1e20))
    rate = 1e20 / 1e5

    def tokens_of(params: Array) -> Array:
        return 1e5 * rate * (params / flops.params) ** 0.2 / (6 * params)

    assert optimum(HOFFMANN, tokens_of).params > 1.2 * flops.params
