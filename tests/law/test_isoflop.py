"""Minima of IsoFLOP groups, found or refused, and the law's own compute-optimal size against its closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_studies import LAWS, study

from isoflop.law.fit import fit
from isoflop.law.forms import Array
from isoflop.law.isoflop import EdgeMinimum, compute_optimal, isoflop_minimum
from isoflop.law.prior import Prior


@given(bottom=st.floats(1.2e5, 8e5), curvature=st.floats(0.01, 1.0), seed=st.integers(0, 1000))
def test_a_parabola_in_log_size_is_read_exactly(bottom: float, curvature: float, seed: int) -> None:
    sizes = np.random.default_rng(seed).permutation(np.geomspace(5e4, 2e6, 9))
    losses = 2.0 + curvature * np.log(sizes / bottom) ** 2
    assert isoflop_minimum(list(sizes), list(losses)) == pytest.approx(bottom, rel=1e-6)


def test_far_sizes_do_not_bend_the_parabola() -> None:
    """A wall at sizes 64 times the best would move a parabola over the whole range."""
    sizes = [1e3, 3.2e4, 6.4e4, 1.28e5, 8.2e6]
    losses = [9.0, 2.1, 2.0, 2.1, 9.5]
    assert isoflop_minimum(sizes, losses) == pytest.approx(6.4e4)


@pytest.mark.parametrize(("losses", "side", "size"), [([1, 2, 3], "smallest", 1e4), ([3, 2, 1], "largest", 1e6)])
def test_a_minimum_at_the_end_is_refused(losses: list[float], side: str, size: float) -> None:
    found = isoflop_minimum([1e4, 1e5, 1e6], losses)
    assert found == EdgeMinimum(side, size)  # type: ignore[arg-type]
    assert found.warning().code == "edge_minimum"
    assert f"the {side} size" in found.warning().message


def test_a_concave_curve_is_refused() -> None:
    """A dip of noise at the centre of a hill: the window's parabola opens downward."""
    found = isoflop_minimum([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], [2.0, 2.6, 2.7, 1.99, 2.7, 2.6, 2.0])
    assert isinstance(found, EdgeMinimum)
    assert found.side == "neither"
    assert found.size == 2.5


@pytest.mark.parametrize("sizes", [[1.0, 1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 2.0]])
def test_sizes_that_make_no_curve_are_refused(sizes: list[float]) -> None:
    with pytest.raises(ValueError, match="sizes must be positive"):
        isoflop_minimum(sizes, [3.0, 2.0, 3.0])


@pytest.mark.parametrize(("form", "truth"), LAWS)
def test_compute_optimal_agrees_with_the_closed_form(form: str, truth: Array) -> None:
    """Hoffmann et al. 2022, eq. 4: N = G (C / 6)^(beta / (alpha + beta)), G with the p-th root of alpha / beta."""
    law = fit(study(truth), prior=Prior.flat(3.0), form=form, num_draws=10)
    p = law.report().parameters
    balance = (p["alpha"] / p["beta"]) ** (1 / p["p"])
    gain = (balance * p["A"] / p["B"]) ** (1 / (p["alpha"] + p["beta"]))
    size, tokens = compute_optimal(law, 1e15)
    assert size == pytest.approx(gain * (1e15 / 6) ** (p["beta"] / (p["alpha"] + p["beta"])), rel=0.002)
    assert size * tokens == pytest.approx(1e15 / 6)


def test_scarce_data_moves_the_optimum_to_fewer_repetitions() -> None:
    """Repeated tokens are worth less than fresh ones, so tokens give way to parameters."""
    law = fit(study(unique=2e6), num_draws=10)
    _, fresh = compute_optimal(law, 1e14)
    _, scarce = compute_optimal(law, 1e14, unique_tokens=1e6)
    assert 1e6 < scarce < fresh
