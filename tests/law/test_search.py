"""The global fit: published optima, noiseless recovery, what must not change it, and what is refused."""

import numpy as np
import pytest
from law_studies import COUPLED, EIGHT, TRUTH, hoffmann_runs, kept_by_besiroglu, loss, repeated_runs

from isoflop.core.errors import TableError
from isoflop.law.forms import FORMS, PARAMS, TOKENS, UNIQUE, Array, form_of
from isoflop.law.objective import Huber, StudentT
from isoflop.law.search import best_fit
from isoflop.law.table import LOSS, Table


def grid(*, noise: float = 0.0, theta: Array = TRUTH, form: str = "chinchilla", seed: int = 0) -> Table:
    """Fifty runs of ten sizes."""
    size, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(3e4, 3e7, 10), np.geomspace(1e6, 1e9, 5)))
    measured = loss(theta, size, tokens, np.full(50, np.inf), form=form)
    measured = measured * np.exp(noise * np.random.default_rng(seed).standard_normal(50))
    return Table.of({PARAMS: size, TOKENS: tokens, LOSS: measured})


def test_hoffmann_optimum_as_recomputed_by_besiroglu() -> None:
    """Besiroglu et al. 2024's notebook ends at .001018274034; 4,500 exact starts reach .0010182740178."""
    found = best_fit(kept_by_besiroglu(hoffmann_runs()), form_of("chinchilla"))
    assert found.objective == pytest.approx(0.0010182740178, rel=1e-9)
    assert found.converged and found.num_basins >= 1
    values = [found.natural()[name] for name in ("E", "A", "B", "alpha", "beta")]
    assert values == pytest.approx([1.8172, 477.83, 2143.4, 0.34731, 0.36717], rel=1e-4)


def test_the_five_dropped_runs_move_beta() -> None:
    """All 245: alpha .349, beta .453 (scaling.md sec. 4)."""
    found = best_fit(hoffmann_runs(), form_of("chinchilla")).natural()
    assert [found["alpha"], found["beta"]] == pytest.approx([0.349, 0.453], abs=1e-3)


def test_repeated_form_beats_the_paper_and_blindness_on_the_papers_runs() -> None:
    size, tokens, unique, measured = repeated_runs()
    table = Table.of({PARAMS: size, TOKENS: tokens, UNIQUE: unique, LOSS: measured})
    names = ("chinchilla", "muennighoff", "repeated_chinchilla")
    plain, paper, ours = (best_fit(table, form_of(name)).objective for name in names)
    assert ours < paper < plain
    assert paper < 0.00658 and ours < 0.00634


@pytest.mark.parametrize(("name", "theta"), [("chinchilla", TRUTH), ("skaling", COUPLED), ("skaling", TRUTH)])
def test_noiseless_runs_give_back_the_truth(name: str, theta: Array) -> None:
    found = best_fit(grid(theta=theta, form=name), form_of(name))
    for parameter, value in found.natural().items():
        assert value == pytest.approx(EIGHT.natural(theta)[EIGHT.index(parameter)], rel=1e-6)


@pytest.mark.parametrize("name", ["kaplan", "bounded", "farseer"])
def test_a_form_fits_its_own_runs(name: str) -> None:
    form = form_of(name)
    first = best_fit(grid(noise=0.01), form)
    again = best_fit(Table.of({**grid().columns, LOSS: np.exp(first.log_loss(grid().places()))}), form)
    assert again.objective < 1e-9


def test_units_and_order_do_not_matter() -> None:
    runs = grid(noise=0.02)
    order = np.random.default_rng(1).permutation(len(runs))
    millions = Table.of({PARAMS: runs.columns[PARAMS] / 1e6, TOKENS: runs.columns[TOKENS] / 1e9, LOSS: runs.loss})
    first, second, third = (best_fit(table, form_of("chinchilla")) for table in (runs, runs.take(order), millions))
    assert first.objective == pytest.approx(second.objective, rel=1e-9)
    assert first.objective == pytest.approx(third.objective, rel=1e-9)
    assert first.theta == pytest.approx(second.theta, abs=1e-4)
    assert first.theta == pytest.approx(third.theta, abs=1e-4)


def test_a_weight_of_two_is_the_run_twice() -> None:
    runs = grid(noise=0.02)
    twice = runs.take(np.append(np.arange(50), 7))
    weights = np.ones(50)
    weights[7] = 2.0
    first, second = best_fit(twice, form_of("chinchilla")), best_fit(runs, form_of("chinchilla"), weights=weights)
    assert first.objective == pytest.approx(second.objective, rel=1e-9)


def test_outliers_hardly_move_a_robust_cost() -> None:
    runs = grid(noise=0.005)
    spoiled = runs.loss.copy()
    spoiled[20] *= 1.5
    moved = []
    for cost in (Huber(np.inf), Huber(), StudentT(0.005)):
        clean, dirty = (
            best_fit(Table.of({**runs.columns, LOSS: losses}), form_of("chinchilla"), cost=cost).natural()["alpha"]
            for losses in (runs.loss, spoiled)
        )
        moved.append(abs(dirty - clean))
    assert moved[0] > 5 * max(moved[1:])


def test_too_few_runs_and_one_size_are_refused() -> None:
    runs = grid()
    with pytest.raises(TableError, match="4 runs cannot determine the 5 parameters of chinchilla"):
        best_fit(runs.take(np.array([0, 13, 27, 44])), form_of("chinchilla"))
    with pytest.raises(TableError, match="all runs have the same params"):
        best_fit(runs.take(runs.columns[PARAMS] == runs.columns[PARAMS][0]), form_of("chinchilla"))


def test_every_form_has_its_name() -> None:
    assert all(form.name == name for name, form in FORMS.items())


def test_held_parameters_stay_and_the_others_follow() -> None:
    held = best_fit(grid(), form_of("chinchilla"), hold={"E": 1.6, "alpha": 0.36})
    for parameter, value in held.natural().items():
        assert value == pytest.approx(EIGHT.natural(TRUTH)[EIGHT.index(parameter)], rel=1e-5)
    wrong = best_fit(grid(), form_of("chinchilla"), hold={"alpha": 0.5}).natural()
    assert wrong["alpha"] == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(TableError, match="chinchilla has no parameter gamma to hold"):
        best_fit(grid(), form_of("chinchilla"), hold={"gamma": 1.0})
