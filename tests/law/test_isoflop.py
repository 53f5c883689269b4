"""Minima of IsoFLOP groups, found or refused, and the law's own compute-optimal size against its closed form."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_studies import LAWS, SHARED, study

from isoflop.core.errors import TableError
from isoflop.law.forms import PARAMS, TOKENS, Array, form_of
from isoflop.law.isoflop import EdgeMinimum, PowerLaw, akima, approach_2, isoflop_minimum, reading_bias
from isoflop.law.optimum import Allocation, for_flops, optimum
from isoflop.law.pilots import fit_pilots
from isoflop.law.predict import Law
from isoflop.law.prior import Prior
from isoflop.law.search import best_fit
from isoflop.law.table import FLOPS, LOSS, Table


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


def compute_optimal(law: Law, flops: float, *, unique_tokens: float = np.inf) -> Allocation:
    return optimum(lambda params, tokens: law.loss(params, tokens, unique_tokens), for_flops(flops))


@pytest.mark.parametrize(("form", "truth"), LAWS)
def test_compute_optimal_agrees_with_the_closed_form(form: str, truth: Array) -> None:
    """Hoffmann et al. 2022, eq. 4: N = G (C / 6)^(beta / (alpha + beta)), G with the p-th root of alpha / beta."""
    law = fit_pilots(study(truth), prior=Prior.flat(3.0), form=form, num_draws=10)
    p = law.report().parameters
    balance = (p["alpha"] / p["beta"]) ** (1 / p.get("p", 1.0))
    gain = (balance * p["A"] / p["B"]) ** (1 / (p["alpha"] + p["beta"]))
    found = compute_optimal(law, 1e15)
    assert found.params == pytest.approx(gain * (1e15 / 6) ** (p["beta"] / (p["alpha"] + p["beta"])), rel=1e-5)
    assert found.params * found.tokens == pytest.approx(1e15 / 6)


def test_scarce_data_moves_the_optimum_to_fewer_repetitions() -> None:
    """Repeated tokens are worth less than fresh ones, so tokens give way to parameters."""
    law = fit_pilots(study(unique=2e6), num_draws=10)
    fresh, scarce = (compute_optimal(law, 1e14, unique_tokens=unique) for unique in (np.inf, 1e6))
    assert 1e6 < scarce.tokens < fresh.tokens


def test_akima_by_hand() -> None:
    """Knots' slopes of y = |x| at -2 .. 2: all straight but at 0, where both sides are equally so and the mean is 0."""
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert akima(x, np.abs(x), x) == pytest.approx(np.abs(x))
    # between 0 and 1 a cubic from slope 0 to slope 1 through (0, 0) and (1, 1): 2 t^2 - t^3
    assert akima(x, np.abs(x), np.array([0.5])) == pytest.approx([2 * 0.25 - 0.125])


@given(level=st.floats(-2, 2), slope=st.floats(-2, 2))
def test_akima_continues_lines(level: float, slope: float) -> None:
    x = np.array([0.0, 0.3, 1.0, 2.5, 2.6, 4.0])
    at = np.linspace(0.0, 4.0, 33)
    assert akima(x, level + slope * x, at) == pytest.approx(level + slope * at, abs=1e-12)


def test_a_power_law_goes_through_its_points() -> None:
    law = PowerLaw.through(np.array([1e12, 1e14, 1e16]), np.array([3e5, 3e6, 3e7]))
    assert law.exponent == pytest.approx(0.5) and law(1e18) == pytest.approx(3e8)
    with pytest.raises(TableError, match="fewer than two costs"):
        PowerLaw.through(np.array([1e12]), np.array([3e5]))


def test_porian_exponents() -> None:
    """Porian et al. 2024: 15 exponents of their released points, at least 13 within .01 (scaling.md sec. 4)."""
    folder = SHARED / "porian_resolving"
    if not folder.exists():
        pytest.skip("../shared/data/scaling/porian_resolving is absent")
    with (folder / "isoflop_points_tidy.csv").open() as file:
        runs = list(csv.DictReader(file))
    with (folder / "published_fits_tidy.csv").open() as file:
        published = {setting(row): float(row["ptw_n_exponent"]) for row in csv.DictReader(file)}
    errors = []
    for which, exponent in published.items():
        rows = [row for row in runs if setting(row) == which]
        columns = {ours: [float(row[theirs]) for row in rows] for ours, theirs in PORIAN.items()}
        errors.append(abs(approach_2(Table.of(columns), reading="akima").law.exponent - exponent))
    assert len(errors) == 15
    assert sum(error <= 0.0105 for error in errors) >= 13


PORIAN = {PARAMS: "n", TOKENS: "t", FLOPS: "flops", LOSS: "loss"}


def setting(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("dataset", "hparams", "warmup", "decay", "param_count", "val", "source_file"))


def test_a_reading_knows_its_own_bias() -> None:
    """Wide groups that wander off their centre: alpha .34, beta .28 give N* the exponent .28 / .62."""
    rows = []
    for i, flops in enumerate(np.geomspace(1e17, 1e21, 6)):
        centre = 0.6 * (flops / 6) ** 0.45 * 1.5**i
        rows += [(size, flops / 6 / size) for size in centre * np.geomspace(1 / 60, 60, 13)]
    size, tokens = np.array(rows).T
    table = Table.of({PARAMS: size, TOKENS: tokens, LOSS: 1.7 + 400 / size**0.34 + 410 / tokens**0.28})
    fitted, true = best_fit(table, form_of("chinchilla")), 0.28 / 0.62
    biases = {}
    for reading in ("parabola", "akima"):
        biases[reading] = reading_bias(table, fitted, reading=reading)
        assert approach_2(table, reading=reading).law.exponent - biases[reading] == pytest.approx(true, abs=1e-4)
    assert abs(biases["parabola"]) > 0.005 > 5 * abs(biases["akima"])
