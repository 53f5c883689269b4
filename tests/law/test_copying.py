"""What copying takes off a loss: nothing where there is none, all of it in the end, and never twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.law.copying import ONSET_GAIN, ONSET_TOKENS, SCALE, Copying

GAIN = ONSET_GAIN


def test_nothing_to_copy_changes_nothing() -> None:
    factor = Copying(0.0, 1e6).factor(1e9)
    assert (factor.central, factor.low, factor.high) == (1.0, 1.0, 1.0)


def test_half_is_learnt_at_the_onset_and_all_far_beyond() -> None:
    copying = Copying(GAIN, 1e4)
    assert copying.factor(ONSET_TOKENS).central == pytest.approx(1 - SCALE * GAIN / 2, rel=1e-4)
    assert copying.factor(1e12).central == pytest.approx(1 - SCALE * GAIN, rel=1e-6)
    assert copying.factor(1e5).central == pytest.approx(1.0, abs=1e-4)


def test_what_the_pilots_have_learnt_is_not_taken_off_again() -> None:
    assert Copying(GAIN, 1e10).factor(1e11).central == pytest.approx(1.0, abs=1e-6)


def test_the_more_there_is_to_copy_the_sooner_it_is_learnt() -> None:
    tokens = ONSET_TOKENS
    little, much = (math.log(Copying(gain, 1e4).factor(tokens).central) / gain for gain in (GAIN / 3, GAIN))
    assert much < 10 * little < 0


@given(gain=st.floats(0, 0.3), pilot=st.floats(1e4, 1e9), tokens=st.floats(1e5, 1e11))
def test_the_interval_holds_the_centre_and_never_exceeds_one(gain: float, pilot: float, tokens: float) -> None:
    factor = Copying(gain, pilot).factor(tokens)
    assert 0 < factor.low <= factor.central <= factor.high <= 1


def test_pilots_past_the_onset_may_have_learnt_less_than_thought() -> None:
    factor = Copying(0.2, 2.6e6).factor(30e6)  # onset at 1.15 M tokens, or as late as 2.2 M
    assert factor.low < 0.87 and factor.central > 0.96
