"""Several processes that train one model: the same losses as one, through deaths of any of them, and other numbers."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from faults.child import NUM_STEPS
from isoflop.core.journal import read_records
from isoflop.core.records import Alert, Evaluation, RolledBack, Step, Warned
from isoflop.train.checkpoint import Store
from isoflop.train.supervise import supervise
from isoflop.train.target import STACKS
from isoflop.train.watchdog import EXIT_CODE
from toy import rarely

NUM_FAULTS = int(os.environ.get("FAULTS", "1"))
CALM = 1e-4
CALM_RATE = 0.001
"""Of rules by element and by matrix alike; what several processes do differently shows there, rounding does not."""
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CHILD.parents[1]), os.environ.get("PYTHONPATH", "")]))


def trained(folder: Path, corpus: Path, *, size: int, restarts: list[int] | None = None) -> int:
    """The exit code of a run in so many processes; ``restarts`` gets the codes behind new attempts."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-P", str(CHILD), str(folder), str(corpus)]
    codes, apart = restarts if restarts is not None else [], "AGREE_EVERY" in os.environ
    return supervise(command, size=size, max_restarts=5, restarting=lambda _, code: codes.append(code), apart=apart)


def kill_leader(folder: Path, seconds: float) -> None:
    """So many seconds after it began."""
    while not (folder / "started").exists():
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(int((folder / "started").read_text()), signal.SIGKILL)


def kill_follower(folder: Path, seconds: float) -> None:
    """One of them, so many seconds after the leader began."""
    while not (folder / "started").exists():
        time.sleep(0.01)
    time.sleep(seconds)
    leader = int((folder / "started").read_text())
    ours = (child for child in psutil.Process().children() if str(CHILD) in child.cmdline())  # not other tests'
    os.kill(next(child.pid for child in ours if child.pid != leader), signal.SIGKILL)


def validations(folder: Path) -> list[float]:
    records = (stamped.record for stamped in read_records(folder / "records.jsonl"))
    return [record.loss for record in records if isinstance(record, Evaluation)]


def losses(folder: Path) -> dict[int, float]:
    return {s.record.step: s.record.loss for s in read_records(folder / "records.jsonl") if isinstance(s.record, Step)}


def state(folder: Path) -> dict[str, torch.Tensor]:
    latest = Store(folder / "run").latest()
    assert latest is not None
    return latest.tensors


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run in two processes, and its seconds since it began to train."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    path = os.pathsep.join([str(CHILD.parents[1]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        assert trained(folder, corpus, size=2) == 0
    return folder, time.time() - (folder / "started").stat().st_mtime


def assert_alike(one: Path, other: Path, *, within: float = 0.02) -> None:
    """Same run up to rounding: sums over sequences are taken in another order.

    A rate as high as the toy's is makes some 1e-2 of it in 500 steps; at a low one it stays below ``CALM``.
    """
    mine, theirs = state(one), state(other)
    for name in (name for name in mine if name.endswith("master")):
        assert float((mine[name] - theirs[name]).norm() / mine[name].norm()) < within, name


@pytest.mark.parametrize("size", [2, rarely(3)])
def test_several_processes_learn_what_one_does(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Batches of 4 sequences: three processes take one, one and two of them."""
    monkeypatch.setenv("DROPOUT", "0")
    for count in (1, size):
        assert trained(tmp_path / str(count), corpus, size=count) == 0
    mine, theirs = (validations(tmp_path / str(count)) for count in (1, size))  # steps' losses are means over seconds
    assert mine == pytest.approx(theirs, rel=0.01)
    assert_alike(tmp_path / "1", tmp_path / str(size))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        rarely({"optimizer": "lamb", "learning_rate": CALM_RATE}),
        rarely({"optimizer": "schedule-free"}),
        rarely({"micro_batches": 2, "average_decay": 0.9}),
    ],
)
def test_processes_that_share_a_model_learn_what_those_with_all_of_it_do(
    corpus: Path,
    undisturbed: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    """Dropout is drawn by step and process, so it is the same for both."""
    expected = undisturbed[0]
    if changes:
        monkeypatch.setenv("RECIPE", json.dumps(changes))
        expected = tmp_path / "whole"
        assert trained(expected, corpus, size=2) == 0
    monkeypatch.setenv("SHARDED", "1")
    assert trained(tmp_path / "shares", corpus, size=2) == 0
    assert_alike(expected, tmp_path / "shares", within=CALM if "learning_rate" in changes else 0.02)
    mine, theirs = validations(expected), validations(tmp_path / "shares")
    assert mine == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize(
    ("size", "slices", "changes"),
    [
        rarely(2, 2, {}),
        rarely(4, 2, {"micro_batches": 2}),
        rarely(2, 2, {"optimizer": "adamw", "learning_rate": CALM_RATE, "z_loss": 1e-4}),
    ],
)
def test_processes_that_compute_a_model_together_learn_what_one_does(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    slices: int,
    changes: dict[str, object],
) -> None:
    monkeypatch.setenv("DROPOUT", "0")
    monkeypatch.setenv("RECIPE", json.dumps(changes))
    assert trained(tmp_path / "whole", corpus, size=1) == 0
    monkeypatch.setenv("SLICES", str(slices))
    assert trained(tmp_path / "slices", corpus, size=size) == 0
    assert_alike(tmp_path / "whole", tmp_path / "slices", within=CALM if "learning_rate" in changes else 0.02)
    mine, theirs = validations(tmp_path / "whole"), validations(tmp_path / "slices")
    assert mine == pytest.approx(theirs, rel=0.01)


@pytest.mark.long
@pytest.mark.parametrize("layout", [("SHARDED", "1"), ("SLICES", "2")])
def test_processes_that_divide_a_model_end_with_the_same_bits_when_one_is_killed(
    corpus: Path,
    undisturbed: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: tuple[str, str],
) -> None:
    monkeypatch.setenv(*layout)
    assert trained(tmp_path / "whole", corpus, size=2) == 0
    killed, restarts = tmp_path / "killed", list[int]()
    killer = threading.Thread(target=kill_leader, args=(killed, 0.5 * undisturbed[1]))
    killer.start()
    assert trained(killed, corpus, size=2, restarts=restarts) == 0
    killer.join()
    assert len(restarts) == 1
    assert (killed / "done").read_text() == (tmp_path / "whole" / "done").read_text()


@pytest.mark.parametrize("number", range(NUM_FAULTS))
@pytest.mark.parametrize("victim", [rarely(0), 1])
def test_when_one_is_killed_all_start_anew_and_end_with_the_same_bits(
    corpus: Path, undisturbed: tuple[Path, float], tmp_path: Path, victim: int, number: int
) -> None:
    expected, seconds = undisturbed

    def kill() -> None:
        wait = np.random.default_rng(number).uniform(0.05, 0.5) * seconds
        kill_follower(tmp_path, wait) if victim else kill_leader(tmp_path, wait)

    killer, restarts = threading.Thread(target=kill), list[int]()
    killer.start()
    assert trained(tmp_path, corpus, size=2, restarts=restarts) == 0
    killer.join()
    assert len(restarts) == 1
    assert (tmp_path / "done").read_text() == (expected / "done").read_text()


@pytest.mark.long
@pytest.mark.parametrize("layout", [None, ("SHARDED", "1"), ("SLICES", "2")])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_same_text(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    after: int,
    layout: tuple[str, str] | None,
) -> None:
    monkeypatch.setenv("DROPOUT", "0")
    if layout:  # where there are two; one has all of it
        monkeypatch.setenv(*layout)

    def stop() -> None:
        while not (tmp_path / "half" / "started").exists():
            time.sleep(0.01)
        time.sleep(1.0)
        os.kill(int((tmp_path / "half" / "started").read_text()), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert trained(tmp_path / "half", corpus, size=before) == 130
    stopper.join()
    latest = Store(tmp_path / "half" / "run").latest()
    assert latest is not None and 0 < latest.num_done < NUM_STEPS
    assert trained(tmp_path / "half", corpus, size=after) == 0
    assert trained(tmp_path / "whole", corpus, size=1) == 0
    assert_alike(tmp_path / "half", tmp_path / "whole")


@pytest.mark.parametrize("rank", [rarely(0), 1])
def test_a_bit_that_flips_in_one_process_is_found_by_the_other(
    corpus: Path, undisturbed: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setenv("FLIP", str(rank))
    assert trained(tmp_path, corpus, size=2) == 0
    records = [stamped.record for stamped in read_records(tmp_path / "records.jsonl")]
    assert [record.reason for record in records if isinstance(record, RolledBack)] == ["ranks differ"]
    assert [record.code for record in records if isinstance(record, Warned)] == ["rolled_back"]
    assert (tmp_path / "done").read_text() == (undisturbed[0] / "done").read_text()


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_is_ended_and_all_start_anew(
    corpus: Path, undisturbed: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """The leader's watchdog finds it, whoever hangs: the leader waits for the others at every step."""
    monkeypatch.setenv("HANG", str(rank))
    restarts = list[int]()
    assert trained(tmp_path, corpus, size=2, restarts=restarts) == 0
    assert restarts == [EXIT_CODE]
    alerts = [stamped.record for stamped in read_records(tmp_path / "records.jsonl")]
    (alert,) = [record for record in alerts if isinstance(record, Alert)]
    assert alert.code == "hung" and str(tmp_path / "run" / STACKS) in alert.message
    assert ("in apply" if rank else "in hanging") in (tmp_path / "run" / STACKS).read_text()
    assert (tmp_path / "done").read_text() == (undisturbed[0] / "done").read_text()


@pytest.mark.parametrize("killed", [False, rarely(True)])
def test_processes_that_train_apart_learn_nearly_what_those_together_do(
    corpus: Path, undisturbed: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """They agree every 20 steps, and where the leader saves or validates; its death costs what came since."""
    monkeypatch.setenv("AGREE_EVERY", "20")
    killer = threading.Thread(target=kill_leader, args=(tmp_path, 0.3 * undisturbed[1]))
    if killed:
        killer.start()
    restarts = list[int]()
    assert trained(tmp_path, corpus, size=2, restarts=restarts) == 0
    assert len(restarts) == killed
    apart, together = losses(tmp_path)[NUM_STEPS], losses(undisturbed[0])[NUM_STEPS]
    assert apart == pytest.approx(together, rel=0.15)
    records = [stamped.record for stamped in read_records(tmp_path / "records.jsonl")]
    assert not any(isinstance(record, RolledBack) for record in records)


@pytest.mark.long
def test_of_those_that_train_apart_one_drops_out_and_comes_back_while_the_other_goes_on(
    corpus: Path, undisturbed: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGREE_EVERY", "10")
    monkeypatch.setenv("STEP_SECONDS", "0.02")  # else the run is over before the other one is back
    killer, restarts = threading.Thread(target=kill_follower, args=(tmp_path, 1.0)), list[int]()
    killer.start()
    assert trained(tmp_path, corpus, size=2, restarts=restarts) == 0
    killer.join()
    assert restarts == [-signal.SIGKILL]
    records = [stamped.record for stamped in read_records(tmp_path / "records.jsonl")]
    assert [record.step for record in records if isinstance(record, Step)] == sorted(losses(tmp_path))  # none anew
    assert "absent" in {record.code for record in records if isinstance(record, Alert)}
    assert len((tmp_path / "joined").read_text().split()) == 3  # two at first, and one that came back, and took part
    assert losses(tmp_path)[NUM_STEPS] == pytest.approx(losses(undisturbed[0])[NUM_STEPS], rel=0.15)
