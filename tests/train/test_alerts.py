from __future__ import annotations

import numpy as np
import pytest

from isoflop.core.records import Step
from isoflop.train.alerts import MIN_RECORDS, PLATEAU_RECORDS, SLOW_RECORDS, Alerts


def step(number: int, *, loss: float = 3.0, speed: float = 1000.0) -> Step:
    return Step("target", number, 64 * number, 2.0 * number, loss, 0.01, 1.0, 0.0, speed, 1e9)


def codes(steps: list[Step], *, annealing: bool = False, memory: float = 0.1) -> list[tuple[int, str]]:
    alerts = Alerts("target")
    return [(a.step, a.code) for s in steps for a in alerts.judge(s, annealing=annealing, memory_share=memory)]


def falling(count: int) -> list[float]:
    return list(4 - 0.01 * np.arange(count) + np.random.default_rng(0).normal(0, 0.05, count))


def test_a_run_that_goes_well_is_left_alone() -> None:
    assert codes([step(i, loss=loss) for i, loss in enumerate(falling(200))]) == []


def test_a_slow_spell_is_told_once_and_a_second_one_again() -> None:
    speeds = [1000.0] * 20 + [400.0] * 10 + [1000.0] * 20 + [300.0] * 10
    found = codes([step(i, loss=4 - 0.01 * i, speed=speed) for i, speed in enumerate(speeds)])
    assert found == [(20 + SLOW_RECORDS - 1, "slow"), (50 + SLOW_RECORDS - 1, "slow")]


def test_a_hiccup_and_a_slow_start_are_no_slow_spell() -> None:
    speeds = [100.0] * (MIN_RECORDS - 10) + [1000.0] * 30 + [100.0] * (SLOW_RECORDS - 1) + [1000.0] * 5
    assert codes([step(i, loss=4 - 0.01 * i, speed=speed) for i, speed in enumerate(speeds)]) == []


@pytest.mark.parametrize(("annealing", "expected"), [(False, ["plateau"]), (True, [])])
def test_a_loss_that_falls_no_more_at_a_constant_rate(annealing: bool, expected: list[str]) -> None:
    flat = list(3 + np.random.default_rng(0).normal(0, 0.05, 2 * PLATEAU_RECORDS))
    found = codes([step(i, loss=loss) for i, loss in enumerate(flat)], annealing=annealing)
    assert sorted({code for _, code in found}) == expected


def test_memory_near_its_end() -> None:
    assert codes([step(0), step(1)], memory=0.95) == [(0, "memory")]


def test_processes_that_are_away_are_told_each_time_they_leave() -> None:
    alerts = Alerts("target")
    judged = [
        alerts.judge(step(i), annealing=False, num_absent=n, memory_share=0.1) for i, n in enumerate([0, 1, 1, 0, 2])
    ]
    assert [[a.message[:2] for a in found] for found in judged] == [[], ["1 "], [], [], ["2 "]]
    assert {a.code for found in judged for a in found} == {"absent"}
