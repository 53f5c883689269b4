from __future__ import annotations

from collections.abc import Callable

import pytest

from isoflop.train import landing
from isoflop.train.landing import TOLERANCE, Pace, landed
from isoflop.train.schedule import Anchor

CHECK_SECONDS = 2.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(landing, "time", clock)
    return clock


def fly(clock: Clock, anchor: Anchor, *, deadline: float, step_seconds: Callable[[float], float]) -> Anchor:
    """The target's loop with a clock of our own; steps take ``step_seconds(now)``."""
    pace, step, checked = Pace(), 0, 0.0
    while step < anchor.num_steps:
        clock.now += step_seconds(clock.now)
        step += 1
        pace.mark(step)
        if clock.now - checked >= CHECK_SECONDS:
            checked = clock.now
            if pace.seconds_per_step is not None:
                anchor = landed(anchor, step, seconds_per_step=pace.seconds_per_step, seconds_left=deadline - clock.now)
    assert anchor.progress_at(step) == pytest.approx(1.0)
    return anchor


@pytest.mark.parametrize(
    ("name", "step_seconds"),
    [
        ("as planned", lambda now: 0.1),
        ("a third slower", lambda now: 0.133),
        ("twice as fast", lambda now: 0.05),
        ("slower from the middle on", lambda now: 0.1 if now < 150 else 0.2),
        ("faster from the middle on", lambda now: 0.1 if now < 150 else 0.06),
        ("a stall of half a minute", lambda now: 30.0 if 100 < now < 101 else 0.1),
        ("a rhythm", lambda now: 0.14 if now % 20 < 10 else 0.06),
    ],
)
def test_the_run_ends_at_its_deadline(clock: Clock, name: str, step_seconds: Callable[[float], float]) -> None:
    fly(clock, Anchor(0, 0.0, 3000), deadline=300.0, step_seconds=step_seconds)
    assert clock.now == pytest.approx(300.0, rel=0.01), name


def test_at_the_planned_pace_nothing_is_moved(clock: Clock) -> None:
    planned = Anchor(0, 0.0, 3000)
    assert fly(clock, planned, deadline=300.0, step_seconds=lambda now: 0.1) == planned


def test_a_run_past_its_deadline_ends_with_the_next_step() -> None:
    anchor = landed(Anchor(0, 0.0, 1000), 400, seconds_per_step=0.1, seconds_left=-5.0)
    assert (anchor.num_steps, anchor.progress) == (401, 0.4)


def test_small_differences_are_left_alone() -> None:
    anchor = Anchor(0, 0.0, 10_000)
    inside, outside = int(0.5 * TOLERANCE * 10_000), int(3 * TOLERANCE * 10_000)
    for shift, moved in ((inside, False), (-inside, False), (outside, True), (-outside, True)):
        new = landed(anchor, 5000, seconds_per_step=1.0, seconds_left=5000.0 + shift + 0.5)
        assert (new != anchor) is moved
        assert new.num_steps == 10_000 + shift * moved


def test_an_end_brought_forward_on_purpose_is_never_put_off() -> None:
    early = Anchor(300, 0.6, 500, final=True)
    assert landed(early, 310, seconds_per_step=0.1, seconds_left=500.0) == early
    late = landed(early, 310, seconds_per_step=0.1, seconds_left=5.0)
    assert (late.num_steps, late.final) == (360, True)


def test_pace_needs_two_seconds_and_forgets_the_distant_past(clock: Clock) -> None:
    pace = Pace()
    pace.mark(0)
    assert pace.seconds_per_step is None
    clock.now = 1.0
    pace.mark(10)
    assert pace.seconds_per_step is None
    clock.now = 4.0
    pace.mark(40)
    assert pace.seconds_per_step == pytest.approx(0.1)
    clock.now = 22.0  # the marks at 0 and 1 are now too old
    pace.mark(130)
    assert pace.seconds_per_step == pytest.approx(18 / 90)
