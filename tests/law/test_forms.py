"""The forms against hand-computed losses, the published fit of repeated data, and what must always hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_studies import EIGHT, loss, repeated_runs

from isoflop.law.forms import BATCH, FORMS, LEARNING_RATE, PARAMS, TOKENS, UNIQUE, VOCABULARY, Array, Form, form_of
from isoflop.law.objective import Huber

REPETITION = math.log(15.387756), math.log(5.309743)

MUENNIGHOFF = np.array([0.6254804, 6.255414, 7.3049974, 0.3526596, 0.3526596, 0.0, *REPETITION])
"""Constants in the README of huggingface/datablations; p = 1."""

COUPLED = np.array([0.6254804, 6.255414, 7.3049974, 0.33, 0.38, math.log(2.3), *REPETITION])
"""Near them, its terms coupled and its exponents unequal."""

GATED = [("repeated_chinchilla", MUENNIGHOFF), ("coupled", COUPLED)]

SIMPLE = EIGHT.theta_of(np.array([1.0, 10.0, 100.0, 0.5, 0.5, 1.0, 2.0, 3.0]))

sizes = st.floats(1e4, 1e10)
counts = st.floats(1e5, 1e12)


def test_chinchilla_by_hand() -> None:
    assert loss(SIMPLE, [100.0], [1e4], [1e4], form="chinchilla") == pytest.approx([1 + 10 / 10 + 100 / 100])


def test_repeated_data_by_hand() -> None:
    """D = 3 U: R_D = 2. N_opt(1e4) = (10 * 100 / 100)^2 = 100, so N = 400 has R_N = 3."""
    spent_data, spent_size = 1 - math.exp(-2 / 2), 1 - math.exp(-3 / 3)
    tokens, size = 1e4 * (1 + 2 * spent_data), 100 * (1 + 3 * spent_size)
    paper = 1 + 10 / size**0.5 + 100 / tokens**0.5
    assert loss(SIMPLE, [400.0], [3e4], [1e4], form="muennighoff") == pytest.approx([paper])
    gated = 400 ** (1 - spent_data) * size**spent_data
    ours = 1 + 10 / gated**0.5 + 100 / tokens**0.5
    assert loss(SIMPLE, [400.0], [3e4], [1e4], form="repeated_chinchilla") == pytest.approx([ours])


def test_coupled_by_hand() -> None:
    """With p = 2 the terms 30 / 10 = 3 and 400 / 100 = 4 make 5."""
    theta = EIGHT.theta_of(np.array([1.0, 30.0, 400.0, 0.5, 0.5, 2.0, 2.0, 3.0]))
    assert loss(theta, [100.0], [1e4], [1e4], form="coupled") == pytest.approx([6.0])


def test_coupled_repeated_data_by_hand() -> None:
    """D = 3 U: R_D = 2. With p = 2, N_opt(1e4) = (1 / .25)^(1/2) 100 1e4^.25 / 10 = 200, so N = 800 has R_N = 3."""
    theta = EIGHT.theta_of(np.array([1.0, 100.0, 10.0, 1.0, 0.25, 2.0, 2.0, 3.0]))
    spent_data, spent_size = 1 - math.exp(-2 / 2), 1 - math.exp(-3 / 3)
    tokens, size = 1e4 * (1 + 2 * spent_data), 200 * (1 + 3 * spent_size)
    gated = 800 ** (1 - spent_data) * size**spent_data
    expected = 1 + math.hypot(100 / gated, 10 / tokens**0.25)
    assert loss(theta, [800.0], [3e4], [1e4], form="coupled") == pytest.approx([expected])


@given(size=sizes, tokens=counts, unique=counts)
def test_coupled_with_p_1_is_repeated_chinchilla_exactly(size: float, tokens: float, unique: float) -> None:
    coupled, plain = (
        loss(MUENNIGHOFF, [size], [tokens], [unique], form=form) for form in ("coupled", "repeated_chinchilla")
    )
    assert coupled == plain


def test_only_coupled_forms_have_p() -> None:
    coupled = {"coupled", "skaling", "tuned", "vocabulary"}
    assert {name for name, form in FORMS.items() if "p" in form.parameters} == coupled


@given(
    size=st.floats(1e4, 1e8),
    larger=st.floats(1.5, 100.0),
    tokens=st.floats(1e6, 1e10),
    p=st.floats(1.1, 4.0),
)
def test_a_larger_model_gains_more_from_more_tokens(size: float, larger: float, tokens: float, p: float) -> None:
    """A doubling of D gains both sizes the same under Chinchilla's sum, the larger one more where p > 1."""
    theta = np.array([MUENNIGHOFF, MUENNIGHOFF])
    theta[1, EIGHT.index("p")] = math.log(p)
    where = np.array([size, size * larger] * 2), np.array([tokens, tokens, 2 * tokens, 2 * tokens])
    once, doubled = np.split(loss(theta, *where, [1e15] * 4, form="coupled"), 2, axis=1)
    (plain_small, plain_large), (small, large) = once - doubled
    assert plain_large == pytest.approx(plain_small, rel=1e-9)
    assert large > small * (1 + 1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_repetition_discounts_sizes_beyond_the_compute_optimal_one(p: float) -> None:
    """N_opt(U) is where, of all N with 6 N D = C, the best one leaves D = U (brute force).

    Up to N_opt(U) a model on repeated data is as good as on D' fresh tokens; beyond it is worse.
    """
    theta = EIGHT.theta_of(np.array([1.6, 60.0, 300.0, 0.42, 0.28, p, 12.0, 0.5]))
    size = np.geomspace(1e3, 1e8, 20_001)
    along_budget = loss(theta, size, 1e12 / size, np.full(size.shape, np.inf), form="coupled")
    best = size[np.argmin(along_budget)]
    unique = 1e12 / best
    effective = unique * (1 + 12.0 * (1 - math.exp(-1 / 12.0)))
    repeated = loss(theta, size, np.full(size.shape, 2 * unique), np.full(size.shape, unique), form="coupled")
    fresh = loss(theta, size, np.full(size.shape, effective), np.full(size.shape, np.inf), form="coupled")
    discounted = repeated > fresh * (1 + 1e-12)
    assert size[discounted].min() == pytest.approx(best, rel=0.003)
    assert discounted[size > 1.003 * best].all()


def test_published_objective_on_182_repeated_runs() -> None:
    """Muennighoff et al. 2023 report .0158259366; their constants are printed to 7 digits."""
    size, tokens, unique, measured = repeated_runs()
    assert len(measured) == 182
    predicted = loss(MUENNIGHOFF, size, tokens, unique, form="muennighoff")
    objective = Huber(1e-3).value(np.log(predicted / measured)).sum()
    assert objective == pytest.approx(0.0158259366, abs=5e-9)


@given(size=sizes, tokens=counts, share=st.floats(1.0, 1e3))
def test_fresh_data_is_chinchilla_exactly(size: float, tokens: float, share: float) -> None:
    """Also beside a run that repeats, which takes the long way through N' and D'."""
    where = np.array([size, size]), np.array([tokens, tokens]), np.array([tokens * share, tokens / 7])
    plain = loss(MUENNIGHOFF, *where, form="chinchilla")
    repeated = loss(MUENNIGHOFF, *where, form="repeated_chinchilla")
    assert repeated[0] == plain[0]
    assert repeated[1] > plain[1]


@pytest.mark.parametrize(("form", "theta"), GATED)
@given(size=sizes, tokens=counts, unique=counts, more=st.floats(1.0, 1e3))
def test_more_unique_data_never_hurts(
    form: str, theta: Array, size: float, tokens: float, unique: float, more: float
) -> None:
    where = [size, size], [tokens, tokens], [unique, unique * more]
    few, many = loss(theta, *where, form=form)
    assert many <= few * (1 + 1e-12)


@pytest.mark.parametrize(("form", "theta"), GATED)
@given(size=sizes, unique=counts)
def test_no_jump_at_the_first_repetition(form: str, theta: Array, size: float, unique: float) -> None:
    where = [size, size], [unique, unique * (1 + 1e-9)], [unique, unique]
    once, again = loss(theta, *where, form=form)
    assert again == pytest.approx(once, rel=1e-8)


@pytest.mark.parametrize("name", FORMS)
@given(shift=st.integers(0, 10_000), size_unit=st.floats(1e-3, 1e3), token_unit=st.floats(1e-3, 1e3))
def test_units_change_parameters_and_not_losses(name: str, shift: int, size_unit: float, token_unit: float) -> None:
    form = form_of(name)
    at, theta = some_place(), some_theta(name, shift)
    units = {column: token_unit if column in form.centred else 1.0 for column in form.columns}
    units |= {PARAMS: size_unit, UNIQUE: units[TOKENS]}
    in_ones = form.rescaled(theta, units)
    scaled = {column: at[column] * units[column] for column in form.columns}
    assert form.loss(in_ones, scaled) == pytest.approx(form.loss(theta, at), rel=1e-7)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if type(form).slopes is not Form.slopes])
@given(shift=st.integers(0, 10_000))
def test_slopes_are_those_of_the_loss(name: str, shift: int) -> None:
    form, at = form_of(name), some_place()
    theta = np.array([some_theta(name, shift), some_theta(name, shift + 1)])
    slopes = form.slopes(theta, at)
    assert slopes.shape == (2, len(form.parameters), len(at[PARAMS]))
    for j in range(len(form.parameters)):
        step = np.zeros(len(form.parameters))
        step[j] = 1e-4
        difference = (form.log_loss(theta + step, at) - form.log_loss(theta - step, at)) / 2e-4
        assert slopes[:, j] == pytest.approx(difference, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_starts_are_of_the_form_and_make_sense(name: str) -> None:
    form, at = form_of(name), some_place()
    starts = form.starts(at, np.linspace(5.0, 3.0, len(at[PARAMS])))
    assert starts.shape == (len(starts), len(form.parameters))
    assert np.isfinite(form.log_loss(starts, at)).all()


def some_place() -> dict[str, Array]:
    """Five runs about the centre, the last two of repeated data."""
    return {
        PARAMS: np.array([0.1, 0.5, 1.0, 3.0, 9.0]),
        TOKENS: np.array([0.3, 2.0, 1.0, 5.0, 0.9]),
        UNIQUE: np.array([1.0, 2.0, 9.0, 0.5, 0.3]),
        VOCABULARY: np.array([0.5, 1.0, 2.0, 1.0, 3.0]),
        LEARNING_RATE: np.array([0.2, 1.0, 2.0, 1.0, 0.7]),
        BATCH: np.array([0.5, 4.0, 1.0, 0.3, 1.0]),
        "weight_bits": np.array([4.0, 8.0, 16.0, 3.0, 6.0]),
        "activation_bits": np.array([8.0, 8.0, 16.0, 4.0, 6.0]),
        "cache_bits": np.array([4.0, 4.0, 16.0, 8.0, 6.0]),
        "rounded_bits": np.array([3.0, 4.0, 8.0, 16.0, 4.0]),
        "area": np.array([0.2, 1.5, 0.8, 4.0, 0.8]),
        "annealing": np.array([0.1, 1e-9, 1.0, 2.0, 0.5]),
    }


def some_theta(name: str, seed: int) -> Array:
    """Parameters of a plausible law, in units of its centre."""
    rng, form = np.random.default_rng(seed), form_of(name)
    centre = {
        "alpha": 0.35,
        "beta": 0.3,
        "gamma": 0.1,
        "delta": 0.4,
        "E": 1.5,
        "R_D*": 10.0,
        "p": 1.5,
        "C": 0.1,
        "phi": 0.2,
    }
    centre |= {"r": -0.4, "s": 0.2, "t": 0.1, "u": 0.4, "c_l": 0.01, "c_b": 0.01, "nu": 0.3, "k": 0.5}
    centre |= {"floor_slope": -0.1, "floor_power": 0.1, "coefficient_slope": 0.1, "coefficient_power": -0.2}
    centre |= {"exponent_slope": 0.05, "exponent_power": 0.3, "log_exponent": -1.2}
    values = [centre.get(parameter, 1.0) * np.exp(0.2 * rng.standard_normal()) for parameter in form.parameters]
    return form.theta_of(np.array(values))


def test_natural_parameters_and_back() -> None:
    assert EIGHT.natural(SIMPLE) == pytest.approx([1.0, 10.0, 100.0, 0.5, 0.5, 1.0, 2.0, 3.0])


def test_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form 'capybara'"):
        form_of("capybara")
