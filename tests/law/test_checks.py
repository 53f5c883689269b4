"""Typed warnings of a table and of its fits: each told where it holds, and none where it does not."""

from dataclasses import replace

import numpy as np
import pytest
from test_optimum import closed_form
from test_search import grid

from isoflop.core.products import Certificate
from isoflop.law.checks import fit_warnings, table_warnings
from isoflop.law.fit import fit
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, form_of
from isoflop.law.identify import unidentified
from isoflop.law.table import LOSS, Table


def isoflop_runs(centre: float = 1.0, **extra: np.ndarray) -> Table:
    """Three costs, seven sizes from a 6th to 6 times ``centre`` times the best."""
    rows = []
    for flops in (1e18, 1e19, 1e20):
        for size in centre * closed_form(flops, 400.0, 410.0, 0.34, 0.28) * np.geomspace(1 / 6, 6, 7):
            tokens = flops / 6 / size
            rows.append((size, tokens, 1.7 + 400 / size**0.34 + 410 / tokens**0.28))
    size, tokens, loss = np.array(rows).T
    return Table.of({PARAMS: size, TOKENS: tokens, LOSS: loss} | extra)


def codes(table: Table) -> list[str]:
    return [warning.code for warning in table_warnings(table)]


def test_a_good_table_warns_of_nothing() -> None:
    assert codes(isoflop_runs()) == []


@pytest.mark.parametrize(
    ("centre", "code"), [(20.0, "edge_minimum"), (1 / 20, "edge_minimum"), (4.0, "off_centre"), (1 / 4, "off_centre")]
)
def test_groups_that_miss_their_minimum_are_told(centre: float, code: str) -> None:
    assert codes(isoflop_runs(centre)) == [code]


def test_steps_repetition_sizes_and_conventions_are_told() -> None:
    runs = isoflop_runs()
    assert codes(isoflop_runs(steps=np.full(21, 500.0))) == ["too_few_steps"]
    assert codes(isoflop_runs(steps=np.full(21, 2000.0))) == []
    assert codes(isoflop_runs(**{UNIQUE: runs.columns[TOKENS] / 3})) == ["tokens_beyond_unique"]
    assert codes(isoflop_runs(params_all=runs.columns[PARAMS] ** 0.8)) == ["counting_disagrees"]
    assert codes(isoflop_runs(params_all=2 * runs.columns[PARAMS])) == []
    two = np.isin(grid().columns[PARAMS], np.unique(grid().columns[PARAMS])[:2])
    assert codes(grid().take(two)) == ["too_few_sizes"]


def test_fits_that_fail_are_told() -> None:
    runs = grid(noise=0.005)
    (law,) = fit(runs, form="chinchilla", num_draws=50).report().laws
    assert [warning.code for warning in fit_warnings(runs, [law])] == []
    stuck = replace(law, prior_dominated=["E"], certificate=Certificate(1.0, False, 1, 1e9))
    assert [warning.code for warning in fit_warnings(runs, [stuck])] == ["unidentified", "not_converged"]
    high = replace(law, parameters=law.parameters | {"E": 1.01 * float(runs.loss.min())})
    (below,) = fit_warnings(runs, [high])
    assert below.code == "below_floor" and runs.rows[int(np.argmin(runs.loss))] in below.message


def test_what_draws_leave_open_is_unidentified() -> None:
    form, rng = form_of("chinchilla"), np.random.default_rng(0)
    tight = np.array([1.7, 400.0, 410.0, 0.34, 0.28]) * np.exp(0.05 * rng.standard_normal((500, 5)))
    assert unidentified(form, tight) == []
    loose = tight.copy()
    loose[:, 1] *= np.exp(1.5 * rng.standard_normal(500))
    loose[:, 4] += 0.3 * rng.standard_normal(500)
    loose[::8, 0] = np.inf
    assert unidentified(form, loose) == ["E", "A", "beta"]
