import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.budget import Budget, Rates, Unit, format_seconds, format_si
from isoflop.core.errors import BudgetError

RATES = Rates(flops_per_second=2.5e11, watts=12.0, dollars_per_hour=0.40, grams_co2e_per_kwh=475.0)


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("90s", 90, "s"),
        ("30min", 1800, "s"),
        ("30 minutes", 1800, "s"),
        ("30m", 1800, "s"),
        ("1.5h", 5400, "s"),
        (" 1d ", 86400, "s"),
        ("1e15flop", 1e15, "FLOP"),
        ("1e15 FLOPs", 1e15, "FLOP"),
        ("2.5PFLOP", 2.5e15, "FLOP"),
        ("3kflops", 3e3, "FLOP"),
        ("2EFLOP", 2e18, "FLOP"),
        ("$5", 5, "$"),
        ("$ .5", 0.5, "$"),
        ("5usd", 5, "$"),
        ("5$", 5, "$"),
        ("0.2kWh", 0.2, "kWh"),
        ("500Wh", 0.5, "kWh"),
        ("2MWh", 2000, "kWh"),
        ("50gCO2e", 50, "gCO2e"),
        ("50gco2", 50, "gCO2e"),
        ("1.5kgCO2e", 1500, "gCO2e"),
    ],
)
def test_parses_every_documented_form(text: str, amount: float, unit: Unit) -> None:
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0min", "is zero"),
        ("1e-400s", "is zero"),
        ("-5min", "is negative"),
        ("$-5", "is negative"),
        ("nan h", "is not a number"),
        ("inf h", "is infinite"),
        ("1e308d", "is infinite"),
        ("30", "has no unit"),
        ("", "does not begin with a number"),
        ("min", "does not begin with a number"),
        ("€5", "does not begin with a number"),
        ("1,000s", "unknown unit ',000s'"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("2mWh", "unknown unit 'mWh'"),
        ("1h30min", "unknown unit 'h30min'"),
        ("$5usd", "two units"),
    ],
)
def test_refuses_nonsense_by_naming_it(text: str, problem: str) -> None:
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text)
    message = str(caught.value)
    assert message.startswith("--budget: ")
    assert repr(text) in message
    assert problem in message
    assert "30min" in message
    assert "1.5kgCO2e" in message


@pytest.mark.parametrize("amount", [0.0, -1.0, math.nan, math.inf])
def test_value_refuses_what_the_parser_refuses(amount: float) -> None:
    with pytest.raises(BudgetError):
        Budget(amount, "s")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("600s", "10min"),
        ("90min", "1.5h"),
        ("24h", "1d"),
        ("1e15flop", "1PFLOP"),
        ("5usd", "$5"),
        ("0.2kWh", "200Wh"),
        ("1500gCO2e", "1.5kgCO2e"),
        ("61.23456789s", "61.23456789s"),
    ],
)
def test_prints_the_canonical_form(text: str, printed: str) -> None:
    assert str(Budget.parse(text)) == printed


@given(
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.sampled_from(["s", "FLOP", "$", "kWh", "gCO2e"]),
)
def test_printing_then_parsing_is_the_identity(amount: float, unit: Unit) -> None:
    budget = Budget(amount, unit)
    assert Budget.parse(str(budget)) == budget


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_budget_error(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except BudgetError:
        return
    assert budget.amount > 0


@pytest.mark.parametrize(
    ("text", "seconds", "explanation"),
    [
        ("10min", 600, "10 min"),
        ("1PFLOP", 4000, "1PFLOP at 250 GFLOP/s = 1.11 h"),
        ("$5", 45000, "$5 at $0.40/h = 12.5 h"),
        ("0.2kWh", 60000, "200Wh at 12 W = 16.7 h"),
        ("47.5gCO2e", 30000, "47.5gCO2e at 475 g/kWh = 0.1 kWh, at 12 W = 8.33 h"),
    ],
)
def test_converts_to_seconds_and_shows_the_arithmetic(text: str, seconds: float, explanation: str) -> None:
    conversion = Budget.parse(text).to_seconds(RATES)
    assert conversion.seconds == pytest.approx(seconds)
    assert conversion.explanation == explanation


def test_dollars_need_a_price() -> None:
    with pytest.raises(BudgetError, match="--price-per-hour"):
        Budget.parse("$5").to_seconds(Rates(1e11, 12.0))
    with pytest.raises(BudgetError, match="no end at a rate of 0"):
        Budget.parse("$5").to_seconds(Rates(1e11, 12.0, dollars_per_hour=0.0))


def test_co2e_needs_a_grid() -> None:
    with pytest.raises(BudgetError, match="--grid"):
        Budget.parse("50gCO2e").to_seconds(Rates(1e11, 12.0))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (59.9, "59.9 s"),
        (90, "1.5 min"),
        (3600, "1 h"),
        (129600, "36 h"),
        (259200, "3 d"),
        (86400 * 1234, "1234 d"),
        (-90, "-1.5 min"),
    ],
)
def test_formats_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_formats_si_prefixes() -> None:
    assert [format_si(value) for value in (12, 1500, 2.5e11, 9.997e5)] == ["12 ", "1.5 k", "250 G", "1000 k"]
