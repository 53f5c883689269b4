"""Forms that know of more than N and D: by hand, and their own runs give their parameters back."""

import math

import numpy as np
import pytest

from isoflop.core.errors import TableError
from isoflop.law.fit import fit
from isoflop.law.forms import BATCH, LEARNING_RATE, PARAMS, TOKENS, VOCABULARY, Array, form_of
from isoflop.law.forms.annealed import ANNEALING, AREA, areas
from isoflop.law.forms.precision import BITS, ROUNDED
from isoflop.law.forms.tuned import Tuned
from isoflop.law.search import best_fit
from isoflop.law.table import LOSS, Table

TRUTHS = {
    "vocabulary": (1.6, 80.0, 350.0, 0.36, 0.31, 2.0, 0.17),
    "tuned": (1.6, 80.0, 350.0, 0.36, 0.31, 2.0, 8.0, -0.5, 0.1, 0.05, 0.05, 0.5, 0.02, 0.01, 0.3, 0.6),
    "overtrained": (1.6, 60.0, 300.0, 0.34),
    "precision": (1.6, 60.0, 300.0, 0.36, 0.31, 2.7, 2.2, 1.0),
    "rounded": (1.6, 60.0, 300.0, 0.36, 0.31, 0.5, 0.4, 0.3, 1.3),
    "annealed": (1.6, 60.0, 300.0, 0.36, 0.31, 1e-6),
}


def runs(name: str, count: int = 400) -> Table:
    """Noiseless runs at random places of every column."""
    rng, form = np.random.default_rng(0), form_of(name)
    at = {PARAMS: np.exp(rng.uniform(np.log(3e4), np.log(3e7), count))}
    at[TOKENS] = at[PARAMS] * np.exp(rng.uniform(np.log(5), np.log(200), count))
    at[VOCABULARY] = np.exp(rng.uniform(np.log(1e3), np.log(1e5), count))
    at[LEARNING_RATE] = np.exp(rng.uniform(np.log(1e-3), np.log(3e-1), count))
    at[BATCH] = np.exp(rng.uniform(np.log(8), np.log(2e3), count))
    at |= {name: rng.uniform(3, 12, count) for name in (*BITS, ROUNDED)}
    share = rng.uniform(0.05, 0.5, count)
    at[AREA], at[ANNEALING] = (
        at[TOKENS] * (1 - share / 2),
        2e4 * share * (1 + rng.random(count)) * (rng.random(count) > 0.2),
    )
    theta = form.theta_of(np.array(TRUTHS[name]))
    columns = {column: at[column] for column in {PARAMS, TOKENS, *form.columns}}
    return Table.of(columns | {LOSS: form.loss(theta, at)})


@pytest.mark.parametrize("name", TRUTHS)
def test_noiseless_runs_give_back_the_truth(name: str) -> None:
    found = best_fit(runs(name), form_of(name))
    assert list(found.natural().values()) == pytest.approx(TRUTHS[name], rel=1e-5)


def test_a_vocabulary_dilutes_the_text() -> None:
    """p = 1; 1e4 characters in 16 kinds at phi = 1/2 are worth 2,500."""
    form = form_of("vocabulary")
    theta = form.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, 1.0, 0.5]))
    at = {PARAMS: np.array([100.0]), TOKENS: np.array([1e4]), VOCABULARY: np.array([16.0])}
    assert form.loss(theta, at) == pytest.approx([1 + 1 + 2])


def test_tuning_costs_nothing_at_the_best_and_more_above_it_than_below() -> None:
    form = form_of("tuned")
    assert isinstance(form, Tuned)
    theta = form.theta_of(np.array(TRUTHS["tuned"]))
    size, tokens = np.full(3, 1e6), np.full(3, 2e7)
    log_rate, log_batch = form.log_best(theta, np.log(size), np.log(tokens))
    assert np.exp(log_rate[0]) == pytest.approx(8.0 * 1e6**-0.5 * 2e7**0.1)
    at = {PARAMS: size, TOKENS: tokens, BATCH: np.exp(log_batch), LEARNING_RATE: np.exp(log_rate) * [0.25, 1.0, 4.0]}
    low, best, high = form.loss(theta, at)
    assert best == pytest.approx(form.loss(theta, {PARAMS: size, TOKENS: tokens})[0])
    assert best < low < high
    z = 0.6 * math.log(4)
    assert math.log(high / best) == pytest.approx(0.02 * 2 * (math.exp(z) - 1 - z) / 0.6**2)


def test_away_from_the_best_batch_another_rate_is_best() -> None:
    form = form_of("tuned")
    assert isinstance(form, Tuned)
    theta = form.theta_of(np.array(TRUTHS["tuned"]))
    rates = np.geomspace(1e-3, 1e-1, 4001)
    size, tokens = np.full(4001, 1e6), np.full(4001, 2e7)
    log_rate, log_batch = form.log_best(theta, np.log(size), np.log(tokens))
    at = {PARAMS: size, TOKENS: tokens, BATCH: 4 * np.exp(log_batch), LEARNING_RATE: rates}
    best = rates[np.argmin(form.loss(theta, at))]
    assert best == pytest.approx(np.exp(log_rate[0]) * 4**0.3, rel=0.01)


def test_bits_take_parameters_away_by_hand() -> None:
    """With gamma = 1 / ln 2 each further bit halves what is lost: 1, 2 and 3 bits keep 1/2, 3/4 and 7/8 of N."""
    form = form_of("precision")
    theta = form.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, *[1 / math.log(2)] * 3]))
    at = {PARAMS: np.array([64e4 / 21]), TOKENS: np.array([1e4])} | {
        name: np.array([bits]) for name, bits in zip(BITS, (1.0, 2.0, 3.0), strict=True)
    }
    assert form.loss(theta, at) == pytest.approx([1 + 0.1 + 1])


def test_rounding_adds_by_hand() -> None:
    form = form_of("rounded")
    theta = form.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, 8.0, 0.5, 0.5, 1 / math.log(2)]))
    at = {PARAMS: np.array([100.0]), TOKENS: np.array([1e4]), ROUNDED: np.array([4.0])}
    assert form.loss(theta, at) == pytest.approx([1 + 1 + 1 + 8 * 100 / 10 / 16])


def test_overtraining_is_a_power_of_flops_at_a_fixed_ratio() -> None:
    form = form_of("overtrained")
    theta = form.theta_of(np.array(TRUTHS["overtrained"]))
    size = np.array([1e6, 1e7, 1e8])
    reducible = form.loss(theta, {PARAMS: size, TOKENS: 20 * size}) - 1.6
    assert reducible[1:] / reducible[:-1] == pytest.approx([100 ** (-0.34 / 2)] * 2)


def test_areas_by_hand() -> None:
    """Warmup to 1 over two steps, constant, then two falls of a half; momentum .5."""
    area, annealing = areas(np.array([0.5, 1.0, 1.0, 0.5, 0.0]), 10.0, forgetting=0.5)
    assert area == pytest.approx([5.0, 15.0, 25.0, 30.0, 30.0])
    assert annealing == pytest.approx([0.0, 0.0, 0.0, 5.0, 5.0 + 7.5])


@pytest.mark.parametrize("rates", [[], [0.0, 0.0], [1.0, -0.1]])
def test_areas_of_nothing_are_refused(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="learning rates"):
        areas(np.array(rates), 1.0)


def test_a_missing_column_is_named() -> None:
    plain = runs("overtrained")
    with pytest.raises(TableError, match="precision needs a column weight_bits"):
        best_fit(plain, form_of("precision"))


def test_a_law_of_bits_cannot_be_asked_about_n_and_d_alone() -> None:
    law = fit(runs("rounded", 60), form="rounded", num_draws=10)
    with pytest.raises(TableError, match="rounded_bits"):
        law.loss(1e6, 1e8)


def test_a_table_of_rates_and_batches_is_fitted_by_the_form_that_knows_them() -> None:
    law = fit(runs("tuned"), num_draws=20)
    assert [each.form for each in law.report().laws] == ["tuned"]
    truth: Array = 1.6 + ((80 / 1e6**0.36) ** 2 + (350 / 2e7**0.31) ** 2) ** 0.5
    assert float(law.loss(1e6, 2e7)) == pytest.approx(float(truth), rel=0.01)
