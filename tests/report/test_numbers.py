from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.report import numbers


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(0, 3, "0"), (1.234567, 3, "1.23"), (9.996, 3, "10.0"), (48_234.6, 3, "48,200"), (0.00156, 3, "0.00156"),
     (0.00001, 3, "1.00e-05"), (3.5e13, 3, "3.50e+13"), (-2.5, 2, "-2.5"), (599.04, 4, "599.0")],
)  # fmt: skip
def test_significant(value: float, digits: int, expected: str) -> None:
    assert numbers.significant(value, digits) == expected


@given(st.floats(1e-4, 1e9))
def test_significant_is_within_half_a_digit(value: float) -> None:
    assert float(numbers.significant(value).replace(",", "")) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.35, "350 ms"), (8.42, "8.4 s"), (59.97, "1 min"), (598.2, "9 min 58 s"), (600, "10 min"), (3599.8, "1 h"),
     (7500, "2 h 05 min"), (90_000, "1 d 01 h")],
)  # fmt: skip
def test_duration(seconds: float, expected: str) -> None:
    assert numbers.duration(seconds) == expected


def test_units_choose_the_digits() -> None:
    assert numbers.told(1.7124, "bits/byte") == "1.712"
    assert numbers.told(598.04, "s") == "598.0"
    assert numbers.told(0.0015555, "kWh") == "0.00156"


def test_signs_and_counts() -> None:
    assert numbers.signed_percent(-0.0123) == "−1.2 %"
    assert numbers.signed_percent(0.5) == "+50.0 %"
    assert numbers.compact(1_613_824) == "1.61 M"
