"""The forms against hand-computed losses, the published fit of repeated data, and what must always hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_studies import repeated_runs

from isoflop.law import forms

REPETITION = math.log(15.387756), math.log(5.309743)

MUENNIGHOFF = np.array([0.6254804, 6.255414, 7.3049974, 0.3526596, 0.3526596, 0.0, *REPETITION])
"""Constants in the README of huggingface/datablations; p = 1."""

COUPLED = np.array([0.6254804, 6.255414, 7.3049974, 0.33, 0.38, math.log(2.3), *REPETITION])
"""Near them, its terms coupled and its exponents unequal."""

GATED = [("repeated_chinchilla", MUENNIGHOFF), ("coupled", COUPLED)]

SIMPLE = forms.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, 1.0, 2.0, 3.0]))

sizes = st.floats(1e4, 1e10)
counts = st.floats(1e5, 1e12)


def test_chinchilla_by_hand() -> None:
    assert forms.loss(SIMPLE, [100.0], [1e4], [1e4], form="chinchilla") == pytest.approx([1 + 10 / 10 + 100 / 100])


def test_repeated_data_by_hand() -> None:
    """D = 3 U: R_D = 2. N_opt(1e4) = (10 * 100 / 100)^2 = 100, so N = 400 has R_N = 3."""
    spent_data, spent_size = 1 - math.exp(-2 / 2), 1 - math.exp(-3 / 3)
    tokens, size = 1e4 * (1 + 2 * spent_data), 100 * (1 + 3 * spent_size)
    paper = 1 + 10 / size**0.5 + 100 / tokens**0.5
    assert forms.loss(SIMPLE, [400.0], [3e4], [1e4], form="muennighoff") == pytest.approx([paper])
    gated = 400 ** (1 - spent_data) * size**spent_data
    ours = 1 + 10 / gated**0.5 + 100 / tokens**0.5
    assert forms.loss(SIMPLE, [400.0], [3e4], [1e4], form="repeated_chinchilla") == pytest.approx([ours])


def test_coupled_by_hand() -> None:
    """With p = 2 the terms 30 / 10 = 3 and 400 / 100 = 4 make 5."""
    theta = forms.theta_of(np.array([1.0, 30.0, 400.0, 0.5, 0.5, 2.0, 2.0, 3.0]))
    assert forms.loss(theta, [100.0], [1e4], [1e4], form="coupled") == pytest.approx([6.0])


def test_coupled_repeated_data_by_hand() -> None:
    """D = 3 U: R_D = 2. With p = 2, N_opt(1e4) = (1 / .25)^(1/2) 100 1e4^.25 / 10 = 200, so N = 800 has R_N = 3."""
    theta = forms.theta_of(np.array([1.0, 100.0, 10.0, 1.0, 0.25, 2.0, 2.0, 3.0]))
    spent_data, spent_size = 1 - math.exp(-2 / 2), 1 - math.exp(-3 / 3)
    tokens, size = 1e4 * (1 + 2 * spent_data), 200 * (1 + 3 * spent_size)
    gated = 800 ** (1 - spent_data) * size**spent_data
    expected = 1 + math.hypot(100 / gated, 10 / tokens**0.25)
    assert forms.loss(theta, [800.0], [3e4], [1e4], form="coupled") == pytest.approx([expected])


@given(size=sizes, tokens=counts, unique=counts)
def test_coupled_with_p_1_is_repeated_chinchilla_exactly(size: float, tokens: float, unique: float) -> None:
    coupled, plain = (
        forms.loss(MUENNIGHOFF, [size], [tokens], [unique], form=form) for form in ("coupled", "repeated_chinchilla")
    )
    assert coupled == plain


@given(size=sizes, tokens=counts, unique=counts, log_p=st.floats(-1.0, 2.0))
def test_only_coupled_reads_p(size: float, tokens: float, unique: float, log_p: float) -> None:
    theta = MUENNIGHOFF.copy()
    theta[forms.PARAMETERS.index("p")] = log_p
    for form in ("chinchilla", "muennighoff", "repeated_chinchilla"):
        where = [size], [tokens], [unique]
        assert forms.loss(theta, *where, form=form) == forms.loss(MUENNIGHOFF, *where, form=form)
    assert theta[forms.PARAMETERS.index("p")] == log_p


@given(
    size=st.floats(1e4, 1e8),
    larger=st.floats(1.5, 100.0),
    tokens=st.floats(1e6, 1e10),
    p=st.floats(1.1, 4.0),
)
def test_a_larger_model_gains_more_from_more_tokens(size: float, larger: float, tokens: float, p: float) -> None:
    """A doubling of D gains both sizes the same under Chinchilla's sum, the larger one more where p > 1."""
    theta = np.array([MUENNIGHOFF, MUENNIGHOFF])
    theta[1, forms.PARAMETERS.index("p")] = math.log(p)
    where = np.array([size, size * larger] * 2), np.array([tokens, tokens, 2 * tokens, 2 * tokens])
    once, doubled = np.split(forms.loss(theta, *where, [1e15] * 4, form="coupled"), 2, axis=1)
    (plain_small, plain_large), (small, large) = once - doubled
    assert plain_large == pytest.approx(plain_small, rel=1e-9)
    assert large > small * (1 + 1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_repetition_discounts_sizes_beyond_the_compute_optimal_one(p: float) -> None:
    """N_opt(U) is where, of all N with 6 N D = C, the best one leaves D = U (brute force).

    Up to N_opt(U) a model on repeated data is as good as on D' fresh tokens; beyond it is worse.
    """
    theta = forms.theta_of(np.array([1.6, 60.0, 300.0, 0.42, 0.28, p, 12.0, 0.5]))
    size = np.geomspace(1e3, 1e8, 20_001)
    along_budget = forms.loss(theta, size, 1e12 / size, np.full(size.shape, np.inf), form="coupled")
    best = size[np.argmin(along_budget)]
    unique = 1e12 / best
    effective = unique * (1 + 12.0 * (1 - math.exp(-1 / 12.0)))
    repeated = forms.loss(theta, size, np.full(size.shape, 2 * unique), np.full(size.shape, unique), form="coupled")
    fresh = forms.loss(theta, size, np.full(size.shape, effective), np.full(size.shape, np.inf), form="coupled")
    discounted = repeated > fresh * (1 + 1e-12)
    assert size[discounted].min() == pytest.approx(best, rel=0.003)
    assert discounted[size > 1.003 * best].all()


def test_hoffmann_objective_by_hand() -> None:
    """One residual inside delta (5e-4), one beyond (log 2)."""
    expected = 0.5 * 5e-4**2 + 1e-3 * (math.log(2) - 5e-4)
    assert forms.hoffmann_objective([math.exp(5e-4), 2.0], [1.0, 1.0]) == pytest.approx(expected)


def test_published_objective_on_182_repeated_runs() -> None:
    """Muennighoff et al. 2023 report .0158259366; their constants are printed to 7 digits."""
    size, tokens, unique, loss = repeated_runs()
    assert len(loss) == 182
    predicted = forms.loss(MUENNIGHOFF, size, tokens, unique, form="muennighoff")
    assert forms.hoffmann_objective(predicted, loss) == pytest.approx(0.0158259366, abs=5e-9)


@given(size=sizes, tokens=counts, share=st.floats(1.0, 1e3))
def test_fresh_data_is_chinchilla_exactly(size: float, tokens: float, share: float) -> None:
    """Also beside a run that repeats, which takes the long way through N' and D'."""
    where = np.array([size, size]), np.array([tokens, tokens]), np.array([tokens * share, tokens / 7])
    plain = forms.loss(MUENNIGHOFF, *where, form="chinchilla")
    repeated = forms.loss(MUENNIGHOFF, *where, form="repeated_chinchilla")
    assert repeated[0] == plain[0]
    assert repeated[1] > plain[1]


@pytest.mark.parametrize(("form", "theta"), GATED)
@given(size=sizes, tokens=counts, unique=counts, more=st.floats(1.0, 1e3))
def test_more_unique_data_never_hurts(
    form: str, theta: forms.Array, size: float, tokens: float, unique: float, more: float
) -> None:
    where = [size, size], [tokens, tokens], [unique, unique * more]
    few, many = forms.loss(theta, *where, form=form)
    assert many <= few * (1 + 1e-12)


@pytest.mark.parametrize(("form", "theta"), GATED)
@given(size=sizes, unique=counts)
def test_no_jump_at_the_first_repetition(form: str, theta: forms.Array, size: float, unique: float) -> None:
    where = [size, size], [unique, unique * (1 + 1e-9)], [unique, unique]
    once, again = forms.loss(theta, *where, form=form)
    assert again == pytest.approx(once, rel=1e-8)


@given(size=sizes, tokens=counts, unique=counts, scale=st.floats(1e-6, 1e6), form=st.sampled_from(forms.FORMS))
def test_units_only_rescale_a_and_b(size: float, tokens: float, unique: float, scale: float, form: str) -> None:
    small = forms.loss(COUPLED, [size], [tokens], [unique], form=form)
    theta = forms.rescaled(COUPLED, scale, 7.0)
    assert forms.loss(theta, [size * scale], [tokens * 7], [unique * 7], form=form) == pytest.approx(small, rel=1e-9)


def test_natural_parameters_and_back() -> None:
    assert forms.natural(SIMPLE) == pytest.approx([1.0, 10.0, 100.0, 0.5, 0.5, 1.0, 2.0, 3.0])


def test_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form 'kaplan'"):
        forms.loss(SIMPLE, [1.0], [1.0], [1.0], form="kaplan")
