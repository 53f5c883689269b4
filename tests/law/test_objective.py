"""Costs by hand, and what holds of any of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.law.objective import Cost, Huber, StudentT

COSTS = [Huber(1e-3), Huber(1.345), Huber(math.inf), StudentT(0.02), StudentT(1.0, dof=2.0)]
RESIDUALS = np.array([-3.0, -0.4, -2e-3, -1e-4, 1e-4, 5e-3, 0.7, 2.0])


def test_hoffmann_objective_by_hand() -> None:
    """One residual inside delta (5e-4), one beyond (log 2)."""
    expected = 0.5 * 5e-4**2 + 1e-3 * (math.log(2) - 5e-4)
    assert Huber(1e-3).value(np.array([5e-4, math.log(2)])).sum() == pytest.approx(expected)


@pytest.mark.parametrize("cost", COSTS)
def test_psi_is_the_slope_of_the_value(cost: Cost) -> None:
    slope = (cost.value(RESIDUALS + 1e-6) - cost.value(RESIDUALS - 1e-6)) / 2e-6
    assert cost.psi(RESIDUALS) == pytest.approx(slope, rel=1e-4, abs=1e-9)
    assert cost.weight(RESIDUALS) * RESIDUALS == pytest.approx(cost.psi(RESIDUALS))


@pytest.mark.parametrize("cost", COSTS)
@given(at=st.floats(-3, 3), to=st.floats(-3, 3))
def test_the_parabola_of_the_weight_lies_above(cost: Cost, at: float, to: float) -> None:
    here, there = np.array([at]), np.array([to])
    parabola = cost.value(here) + 0.5 * cost.weight(here) * (there**2 - here**2)
    assert cost.value(there) <= parabola + 1e-9


def test_student_t_is_its_density() -> None:
    """Differences of -log density: ((r / s)^2 / dof + 1)^-(dof + 1)/2."""
    first, second = -(4 + 1) / 2 * math.log(1 / (1 + 1 / 4)), -(4 + 1) / 2 * math.log(1 / (1 + 9 / 4))
    value = StudentT(0.5).value(np.array([0.5, 1.5]))
    assert value == pytest.approx([first, second])
