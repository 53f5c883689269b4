"""The forms against hand-computed losses, the published fit of repeated data, and what must always hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_studies import repeated_runs

from isoflop.law import forms

MUENNIGHOFF = np.array([0.6254804, 6.255414, 7.3049974, 0.3526596, 0.3526596, math.log(15.387756), math.log(5.309743)])
"""Constants in the README of huggingface/datablations."""

SIMPLE = forms.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, 2.0, 3.0]))

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


@given(size=sizes, tokens=counts, unique=counts, more=st.floats(1.0, 1e3))
def test_more_unique_data_never_hurts(size: float, tokens: float, unique: float, more: float) -> None:
    where = [size, size], [tokens, tokens], [unique, unique * more]
    few, many = forms.loss(MUENNIGHOFF, *where, form="repeated_chinchilla")
    assert many <= few * (1 + 1e-12)


@given(size=sizes, unique=counts)
def test_no_jump_at_the_first_repetition(size: float, unique: float) -> None:
    where = [size, size], [unique, unique * (1 + 1e-9)], [unique, unique]
    once, again = forms.loss(MUENNIGHOFF, *where, form="repeated_chinchilla")
    assert again == pytest.approx(once, rel=1e-8)


@given(size=sizes, tokens=counts, unique=counts, scale=st.floats(1e-6, 1e6), form=st.sampled_from(forms.FORMS))
def test_units_only_rescale_a_and_b(size: float, tokens: float, unique: float, scale: float, form: str) -> None:
    small = forms.loss(MUENNIGHOFF, [size], [tokens], [unique], form=form)
    theta = forms.rescaled(MUENNIGHOFF, scale, 7.0)
    assert forms.loss(theta, [size * scale], [tokens * 7], [unique * 7], form=form) == pytest.approx(small, rel=1e-9)


def test_natural_parameters_and_back() -> None:
    assert forms.natural(SIMPLE) == pytest.approx([1.0, 10.0, 100.0, 0.5, 0.5, 2.0, 3.0])


def test_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form 'kaplan'"):
        forms.loss(SIMPLE, [1.0], [1.0], [1.0], form="kaplan")
