"""What a watchdog counts; a run that hangs is in tests/faults/test_ranks.py."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoflop.train import watchdog
from isoflop.train.watchdog import EXIT_CODE, Watchdog, watched

HUNG = """
import sys, time
from pathlib import Path
from isoflop.train import watchdog
watchdog.PATIENCE_SECONDS, watchdog.TICK_SECONDS = 0.2, 0.05
watchdog._TELLING_SECONDS = 0.1
def stuck():
    time.sleep(1e6)
def telling(message):
    Path("told").write_text(message)
    if "mute" in sys.argv: stuck()
with watchdog.watched(Path("stacks"), seconds=0.0, telling=telling) as dog:
    dog.beat()
    stuck()
"""


@pytest.mark.parametrize("mute", [False, True])
def test_a_process_that_hangs_says_where_and_ends(tmp_path: Path, mute: bool) -> None:
    command = [sys.executable, "-c", HUNG, *(["mute"] if mute else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_CODE
    assert "in stuck" in (tmp_path / "stacks").read_text()
    message = (tmp_path / "told").read_text()
    assert message.startswith("no step for 0 s: it hangs") and f"isoflop: {message}" in done.stderr


def test_who_beats_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.02)
    with watched(tmp_path / "stacks", seconds=0.0, telling=lambda message: None) as dog:
        for _ in range(50):
            dog.beat()
            time.sleep(0.02)
    assert not (tmp_path / "stacks").exists()


def test_long_runs_may_be_longer_without_a_step(tmp_path: Path) -> None:
    with watched(tmp_path / "stacks", seconds=1e6, telling=lambda message: None) as dog:
        assert dog.patience == 20_000.0
    with watched(tmp_path / "stacks", seconds=60.0, telling=lambda message: None) as dog:
        assert dog.patience == 900.0


def test_time_in_which_the_process_was_stopped_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.01, 4000.0, 4000.01])
    dog = Watchdog(tmp_path / "stacks", 900.0, lambda message: None)
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: next(times))
    with pytest.raises(StopIteration):
        dog.watch()
    assert dog.quiet_seconds == pytest.approx(0.04)  # two ticks for the one that took an hour
