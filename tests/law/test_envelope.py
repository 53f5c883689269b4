"""Approach 1 on curves of a known law."""

import numpy as np
import pytest
from test_optimum import HOFFMANN, closed_form

from isoflop.core.errors import TableError
from isoflop.law.envelope import approach_1, smoothed
from isoflop.law.forms import PARAMS, TOKENS
from isoflop.law.table import LOSS, Table


def curves(*, noise: float = 0.0, num_sizes: int = 24, points: int = 40) -> Table:
    """Every size at FLOPs from a 30th to 30 times those it is the best for."""
    rng = np.random.default_rng(0)
    size = np.geomspace(3e7, 3e10, num_sizes)[:, None]
    best = 6 * (size / closed_form(6.0, A, B, ALPHA, BETA)) ** ((ALPHA + BETA) / BETA)
    flops = best * np.geomspace(1 / 30, 30, points)
    size = np.broadcast_to(size, flops.shape)
    tokens = flops / 6 / size
    loss = HOFFMANN(size.ravel(), tokens.ravel()) * np.exp(noise * rng.standard_normal(size.size))
    return Table.of({PARAMS: size.ravel(), TOKENS: tokens.ravel(), LOSS: loss})


A, B, ALPHA, BETA = np.exp(6.0073404), np.exp(6.0179186), 0.33917084, 0.2849083


def test_the_envelope_of_a_law_has_its_exponent() -> None:
    """beta / (alpha + beta) = .4565, Hoffmann's Table 2, approach 3: .46."""
    found = approach_1(curves(), smooth=False)
    assert found.law.exponent == pytest.approx(BETA / (ALPHA + BETA), abs=0.005)
    assert found.law(5.76e23) == pytest.approx(closed_form(5.76e23, A, B, ALPHA, BETA), rel=0.1)


def test_the_least_of_noisy_curves_is_freed_of_its_bias() -> None:
    noisy, true = approach_1(curves(noise=0.02)), approach_1(curves(), smooth=False)
    expected = np.interp(np.log(noisy.flops), np.log(true.flops), true.losses)
    middle = slice(300, -300)
    corrected = np.mean(np.log(noisy.losses / expected)[middle])
    as_read = np.mean(np.log(noisy.losses / expected)[middle] + noisy.bias[middle])
    assert noisy.bias[middle].max() < 0
    assert as_read < -0.002 and abs(corrected) < 0.5 * abs(as_read)
    assert noisy.law.exponent == pytest.approx(BETA / (ALPHA + BETA), abs=0.03)


def test_a_parabola_is_smoothed_into_itself() -> None:
    x = np.linspace(0, 3, 30)
    assert smoothed(x, 2 - x + 0.3 * x**2) == pytest.approx(2 - x + 0.3 * x**2)


def test_points_without_curves_are_refused() -> None:
    table = curves(points=3)
    with pytest.raises(TableError, match="fewer than three sizes"):
        approach_1(table)
