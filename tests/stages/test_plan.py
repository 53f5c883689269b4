"""Which shape is planned where several processes could share a model that none of them can hold."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from isoflop.core.errors import StudyError
from isoflop.plan import memory
from isoflop.plan.planner import Choice, Question, best, consider, is_sharded
from isoflop.stages.plan import _sharing_declined, settle

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import machine, question

SECONDS, SPEEDUP = 3000.0, 8.0


def asked(*, share_of_memory: float) -> Question:
    """Eight GPUs, of which each has so much of the memory that the best model needs of one alone."""
    gpus = dataclasses.replace(machine(), device="cuda", memory_bytes=10**11)
    roomy = question(ranks=8, may_share=True, machine=gpus, process_bytes=0)
    choice = best(consider(roomy, seconds=SECONDS, speedup=SPEEDUP))
    needed = memory.needed(roomy.room, choice.config, choice.tokens) / memory.MEMORY_SHARE
    return dataclasses.replace(roomy, machine=dataclasses.replace(gpus, memory_bytes=int(share_of_memory * needed) + 1))


def settled(asked: Question, slowdown: float) -> tuple[Choice, float, list[int]]:
    """What is chosen where shares make a step so many times as long, its speed, and the widths that were timed."""
    timed = []

    def calibrate(choice: Choice) -> tuple[float, bool]:
        timed.append(choice.config.hidden_size)
        expected = choice.tokens / (choice.share_of_time * SECONDS)
        return expected / (slowdown if is_sharded(asked, choice) else 1.0), False

    choices = consider(asked, seconds=SECONDS, speedup=SPEEDUP)
    choice, speed, compiled = settle(asked, choices, calibrate, seconds=SECONDS)
    assert not compiled
    return choice, speed, timed


def test_with_room_each_has_all_of_the_best_model() -> None:
    roomy = asked(share_of_memory=1.0)
    choice, _, timed = settled(roomy, slowdown=1.0)
    assert not is_sharded(roomy, choice) and timed == [choice.config.hidden_size]


def test_without_it_they_share_the_same_model() -> None:
    roomy, tight = asked(share_of_memory=1.0), asked(share_of_memory=0.3)
    choice, speed, timed = settled(tight, slowdown=1.1)
    assert is_sharded(tight, choice) and choice.config == settled(roomy, slowdown=1.0)[0].config
    assert timed == [choice.config.hidden_size]
    assert speed == pytest.approx(choice.tokens / (choice.share_of_time * SECONDS) / 1.1)


def test_where_sharing_is_slow_the_best_that_each_can_hold_is_trained_instead() -> None:
    tight = asked(share_of_memory=0.3)
    choice, speed, timed = settled(tight, slowdown=50.0)
    shared = settled(tight, slowdown=1.0)[0]
    assert not is_sharded(tight, choice) and choice.config.hidden_size < shared.config.hidden_size
    assert timed == [shared.config.hidden_size, choice.config.hidden_size]
    (warning,) = _sharing_declined(tight, shared, choice)
    assert warning.code == "sharing_declined" and not _sharing_declined(tight, choice, choice)
    assert speed == pytest.approx(choice.tokens / (choice.share_of_time * SECONDS))


def test_where_sharing_fails_the_best_that_each_can_hold_is_trained() -> None:
    tight = asked(share_of_memory=0.3)
    choices = consider(tight, seconds=SECONDS, speedup=SPEEDUP)

    def calibrate(choice: Choice) -> tuple[float, bool]:
        if is_sharded(tight, choice):
            raise StudyError("8 processes cannot train together here")
        return 1e4, True

    choice, speed, compiled = settle(tight, choices, calibrate, seconds=SECONDS)
    assert (speed, compiled) == (1e4, True) and not is_sharded(tight, choice)


def test_what_only_sharing_makes_fit_is_timed_once_where_all_of_it_is_so() -> None:
    tight = asked(share_of_memory=0.3)
    choices = [each for each in consider(tight, seconds=SECONDS, speedup=SPEEDUP) if is_sharded(tight, each)]
    timed: list[Choice] = []
    calibrate = lambda choice: (timed.append(choice), (1.0, False))[1]  # noqa: E731
    assert settle(tight, choices, calibrate, seconds=SECONDS) == (best(choices), 1.0, False) and len(timed) == 1
