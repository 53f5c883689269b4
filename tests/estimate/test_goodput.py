from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.daly import daly_interval
from isoflop.estimate.goodput import (
    COMPONENTS,
    Faults,
    best_interval,
    expected_interruptions,
    goodput,
    mean_seconds_between,
    simulated,
    what_if,
)


@pytest.mark.parametrize(
    ("save", "between", "daly", "exact"),
    [(30.0, 3.1 * 3600, 797, 798), (300.0, 3.1 * 3600, 2389, 2389), (2.0, 3600.0, 119, 119)],
)
def test_published_intervals(save: float, between: float, daly: int, exact: int) -> None:
    """shared/reference/datacenter.md, section 2."""
    assert round(daly_interval(save, between)) == pytest.approx(daly, rel=3e-3)
    assert best_interval(Faults(between, 0.0, save)) == pytest.approx(exact, rel=3e-3)


@given(st.floats(0.1, 600), st.floats(1800, 1e6), st.floats(0, 1200))
def test_no_interval_beats_the_best_and_dalys_is_as_good_within_a_thousandth(
    save: float, between: float, restart: float
) -> None:
    faults = Faults(between, restart, save)
    best = goodput(faults, best_interval(faults)).productive
    others = [goodput(faults, factor * best_interval(faults)).productive for factor in (0.5, 0.99, 1.01, 2.0)]
    assert best >= max(others) - 1e-12
    assert goodput(faults).productive >= 0.999 * best


@given(st.floats(0.1, 600), st.floats(1800, 1e6), st.floats(0, 1200), st.floats(60, 1e4))
def test_shares_are_shares(save: float, between: float, restart: float, interval: float) -> None:
    shares = dataclasses.astuple(goodput(Faults(between, restart, save), interval))[1:]
    assert sum(shares) == pytest.approx(1.0) and min(shares) >= -1e-9


def test_without_failures_only_saving_is_lost() -> None:
    found = goodput(Faults(1e15, 600.0, 10.0), 90.0)
    assert found.productive == pytest.approx(0.9) and found.lost == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("number", range(20))
def test_simulation_and_closed_form_agree(number: int) -> None:
    """Within 1 %, over 20 settings from patient workstations to clusters that fail hourly."""
    generator = np.random.default_rng(number)
    between = float(np.exp(generator.uniform(np.log(1800), np.log(1e5))))
    faults = Faults(
        between, between * float(generator.uniform(0.01, 0.3)), between * float(generator.uniform(1e-3, 0.05))
    )
    interval = best_interval(faults) * float(generator.uniform(0.5, 3))
    expected = goodput(faults, interval)
    failures_a_segment = (interval + faults.save_seconds) / between
    found = simulated(faults, interval, num_segments=int(60_000 / failures_a_segment), seed=number)
    assert found.productive == pytest.approx(expected.productive, rel=0.01)
    assert found.restarting == pytest.approx(expected.restarting, abs=0.01)


def test_llama_3s_interruptions_and_time() -> None:
    """419 in 54 days on 16,384; with saves of 10 s and restarts of 10 minutes more than 90 % is productive."""
    assert sum(COMPONENTS.values()) == 419
    assert sum(expected_interruptions(16_384, 54 * 24).values()) == pytest.approx(419)
    assert mean_seconds_between(16_384) == pytest.approx(3.09 * 3600, rel=0.01)
    found = goodput(Faults(mean_seconds_between(16_384), 600.0, 10.0))
    assert 0.90 < found.productive < 0.93


def test_remedies_help() -> None:
    faults = Faults(mean_seconds_between(16_384), 600.0, 30.0)
    before = goodput(faults).productive
    assert all(found.productive > before for found in what_if(faults).values())
