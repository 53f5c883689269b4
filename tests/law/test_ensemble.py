"""The most probable fit and its ensemble: against the exact posterior of few and of many runs."""

import numpy as np
import pytest
from law_studies import EIGHT, TRUTH
from test_search import grid

from isoflop.law.belief import OPEN, WHOLE
from isoflop.law.ensemble import FIRST_NOISE, Ensemble, members_of, most_probable, noise_of
from isoflop.law.forms import form_of

CHINCHILLA = form_of("chinchilla")


def test_many_clean_runs_outvote_the_prior() -> None:
    found = most_probable(grid(), CHINCHILLA, WHOLE)
    for name, value in found.natural().items():
        assert value == pytest.approx(EIGHT.natural(TRUTH)[EIGHT.index(name)], rel=0.05)
    assert found.converged


def test_one_run_leaves_the_prior_and_fits() -> None:
    table = grid().take(np.array([17]))
    found = most_probable(table, CHINCHILLA, WHOLE)
    assert found.log_loss(table.places()) == pytest.approx(np.log(table.loss), abs=0.01)
    assert [found.natural()[name] for name in ("alpha", "beta")] == pytest.approx([0.34, 0.34], abs=0.02)
    assert noise_of(found) == FIRST_NOISE


def test_noise_is_found_among_doubted_runs() -> None:
    """Doubts of 1 to 14 times: the noise that is told is that of a run nobody doubts."""
    rng, table = np.random.default_rng(0), grid()
    spread = 0.01 * WHOLE.doubt(table) * rng.standard_normal(len(table))
    noisy = type(table)({**table.columns, "loss": table.loss * np.exp(spread)}, table.rows)
    assert noise_of(most_probable(noisy, CHINCHILLA, WHOLE)) == pytest.approx(0.01, rel=0.4)


def test_an_ensemble_spreads_as_runs_are_fewer() -> None:
    rng, table = np.random.default_rng(0), grid(noise=0.01)
    spreads = []
    for count in (5, 15, 50):
        some = table.take(np.random.default_rng(1).permutation(50)[:count])
        found = most_probable(some, CHINCHILLA, OPEN, units=CHINCHILLA.units(table.places()))
        ensemble = Ensemble(found, members_of(found, num_members=200, rng=rng))
        assert ensemble.members.shape == (200, 5)
        spreads.append(float(ensemble.log_losses(table.places()).std(axis=0).mean()))
    assert spreads[0] > 2 * spreads[1] > 2 * spreads[2]
