"""Rounds by files, the followers' steps being additions; real training apart is in tests/faults/test_ranks.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from isoflop.core.errors import DivergedError, StudyError
from isoflop.model.transformer import build_model
from isoflop.train.apart import Apart
from isoflop.train.diloco import MOMENTUM, RATE, OuterStep
from isoflop.train.optimizers import Optimizer
from isoflop.train.trainer import Trainer
from toy import config, recipe

HERE = torch.device("cpu")


class Adder:
    """A trainer whose step adds one to every weight, and may have to wait before it."""

    def __init__(self, before: Callable[[int], object] = lambda number: None) -> None:
        self.outer = OuterStep(Optimizer(build_model(config(), seed=0), recipe(optimizer="sgd")), every=2)
        self.applied: list[tuple[int, float]] = []
        self.before = before

    def apply(self, window: int, scale: float) -> None:
        self.before(len(self.applied))
        self.applied.append((window, scale))
        for master in self.outer.masters():
            master.add_(1.0)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def following(folder: Path, adder: Adder) -> Iterator[Apart]:
    """A follower in a thread, within the block."""
    apart = Apart(folder, 1, 2, device=HERE)
    thread = threading.Thread(target=apart.follow, args=[cast(Any, adder)])
    thread.start()
    yield apart
    thread.join(timeout=20.0)
    assert not thread.is_alive()


def led(folder: Path, value: float) -> tuple[Apart, OuterStep]:
    """A leader whose weights, agreed on, are ``value``."""
    outer = Adder().outer
    for agreed, master in zip(outer.agreed, outer.masters(), strict=True):
        agreed.fill_(value)
        master.fill_(value)
    return Apart(folder, 0, 2, device=HERE), outer


def after_outer_step(agreed: float, mean: float) -> float:
    """The first one."""
    gradient = agreed - mean
    return agreed - RATE * (gradient + MOMENTUM * gradient)


def weight(outer: OuterStep) -> float:
    (value,) = {round(float(entry), 5) for master in outer.masters() for entry in master.flatten()}
    return value


def test_the_mean_is_by_steps_and_all_go_on_from_the_outer_step(tmp_path: Path) -> None:
    leader, outer = led(tmp_path, 1.0)
    adder = Adder()
    with following(tmp_path, adder):
        leader.begin(outer, [(0, 1.0), (4, 0.5)])
        until(lambda: len(adder.applied) == 2)
        leader.finish(outer, 6)  # the leader did six, in which it did not move
        expected = after_outer_step(1.0, (6 * 1.0 + 2 * 3.0) / 8)
        assert weight(outer) == pytest.approx(expected, abs=1e-4)
        leader.begin(outer, [(8, 0.25)])
        until(lambda: len(adder.applied) == 3)
        assert weight(adder.outer) == pytest.approx(expected + 1, abs=1e-4)
        leader.end()
    assert adder.applied == [(0, 1.0), (4, 0.5), (8, 0.25)]


def test_a_round_that_is_over_early_takes_what_there_is(tmp_path: Path) -> None:
    leader, outer = led(tmp_path, 1.0)
    closed = threading.Event()
    adder = Adder(before=lambda number: closed.wait() if number == 1 else None)
    with following(tmp_path, adder):
        leader.begin(outer, [(0, 1.0)] * 100)
        until(lambda: any(tmp_path.glob("here-*")))
        finishing = threading.Thread(target=leader.finish, args=[outer, 2])
        finishing.start()
        until(lambda: '"is_open": false' in (tmp_path / "order.json").read_text())
        closed.set()
        finishing.join()
        leader.end()
    assert len(adder.applied) == 2
    assert weight(outer) == pytest.approx(after_outer_step(1.0, (2 * 1.0 + 2 * 3.0) / 4), abs=1e-4)


def test_who_has_taken_no_step_is_not_waited_for_and_leaves_nothing(tmp_path: Path) -> None:
    leader, outer = led(tmp_path, 1.0)
    begun, go_on = threading.Event(), threading.Event()
    adder = Adder(before=lambda number: begun.set() or go_on.wait())
    with following(tmp_path, adder):
        leader.begin(outer, [(0, 1.0)])
        assert begun.wait(20.0)
        leader.finish(outer, 1)
        assert weight(outer) == 1.0 and leader.num_absent == 1
        leader.begin(outer, [(4, 1.0)])
        go_on.set()
        until(lambda: (4, 1.0) in adder.applied)  # at the latest there it is again
        leader.finish(outer, 1)
        leader.end()
    assert weight(outer) == pytest.approx(after_outer_step(1.0, 1.5), abs=1e-4) and leader.num_absent == 0


@pytest.mark.parametrize("returns", [True, False])
def test_who_took_part_and_is_gone_is_waited_for_only_while_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returns: bool
) -> None:
    monkeypatch.setattr("isoflop.train.apart.PATIENCE", 1e6 if returns else 0.2)
    leader, outer = led(tmp_path, 1.0)

    class Killed(Exception):
        pass

    def die(number: int) -> None:
        if number == 1:
            raise Killed

    apart = Apart(tmp_path, 1, 2, device=HERE)
    leader.begin(outer, [(0, 1.0)] * 10)
    with pytest.raises(Killed):
        apart.follow(cast(Trainer, Adder(before=die)))
    if returns:
        Apart(tmp_path, 1, 2, device=HERE)  # as it does when it is started anew
    finishing = threading.Thread(target=leader.finish, args=[outer, 3], daemon=True)
    finishing.start()
    until(lambda: not finishing.is_alive())
    assert weight(outer) == 1.0


def test_weights_that_are_not_those_that_were_left_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isoflop.train.apart.PATIENCE", 0.2)
    leader, outer = led(tmp_path, 1.0)
    adder = Adder()
    with following(tmp_path, adder):
        leader.begin(outer, [(0, 1.0)])
        until(lambda: any(tmp_path.glob("weights-*-1.json")))
        (path,) = tmp_path.glob("weights-*-1.safetensors")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        leader.finish(outer, 1)
        leader.end()
    assert weight(outer) == 1.0


def test_a_leader_clears_what_an_earlier_one_left(tmp_path: Path) -> None:
    for name in ("order.json", "present-1", "weights-x-000001-0.safetensors"):
        (tmp_path / name).write_text("old")
    Apart(tmp_path, 0, 2, device=HERE)
    assert not list(tmp_path.iterdir())


def test_old_rounds_leave_no_files(tmp_path: Path) -> None:
    leader, outer = led(tmp_path, 1.0)
    adder = Adder()
    with following(tmp_path, adder):
        for number in range(5):
            leader.begin(outer, [(number, 1.0)])
            leader.finish(outer, 1)
        leader.begin(outer, [(5, 1.0)])
        until(lambda: (5, 1.0) in adder.applied)
        until(lambda: leader._taking_part() == {1})  # it says so behind a first step
        leader.finish(outer, 1)
        assert len(list(tmp_path.glob("weights-*.safetensors"))) == 2
        leader.end()
    assert {path.name for path in tmp_path.iterdir()} == {"order.json", "present-1"}


def test_an_earlier_leaders_end_is_not_this_ones(tmp_path: Path) -> None:
    led(tmp_path, 1.0)[0].end()
    adder = Adder()
    with following(tmp_path, adder):  # finds that end
        leader, outer = led(tmp_path, 1.0)
        leader.begin(outer, [(0, 1.0)])
        until(lambda: adder.applied == [(0, 1.0)])
        leader.end()


def test_who_has_taken_part_is_waited_for_even_where_the_round_is_over_before_it_came(tmp_path: Path) -> None:
    """Rounds of one step, which the leader ends as soon as it begins them."""
    leader, outer = led(tmp_path, 1.0)
    adder = Adder()
    with following(tmp_path, adder):
        leader.begin(outer, [(0, 1.0)])
        until(lambda: any(tmp_path.glob("weights-*-1.json")))
        leader.finish(outer, 1)
        for number in range(1, 10):
            leader.begin(outer, [(number, 1.0)])
            leader.finish(outer, 1)
            assert leader.num_absent == 0
        leader.end()
    assert [window for window, _ in adder.applied] == list(range(10))


def test_numbers_that_are_none_end_their_process_and_reach_nobody(tmp_path: Path) -> None:
    leader, outer = led(tmp_path, 1.0)
    adder = Adder()
    adder.before = lambda number: [master.fill_(float("nan")) for master in adder.outer.masters()]
    apart = Apart(tmp_path, 1, 2, device=HERE)
    leader.begin(outer, [(0, 1.0)])
    with pytest.raises(DivergedError, match="process 1"):
        apart.follow(cast(Trainer, adder))
    assert not any(tmp_path.glob("weights-*-1*"))


def test_who_hears_of_no_leader_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.train.apart.LEADERLESS_SECONDS", 0.05)
    monkeypatch.setattr("isoflop.train.apart.PRESENCE_SECONDS", 0.01)
    with pytest.raises(StudyError, match="no order"):
        Apart(tmp_path, 1, 2, device=HERE).follow(cast(Trainer, Adder()))
