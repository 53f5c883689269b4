"""Work in clean hours: the windows are made of seconds here, and the work is a script that can be asked to stop."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from isoflop import waiting
from isoflop.core.errors import BudgetError, StudyError
from isoflop.core.journal import RecordLog
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import Spent
from isoflop.study import Given, Study
from isoflop.waiting import resume_when_clean

WORK = """
import signal, sys, time, pathlib
log = pathlib.Path(sys.argv[1])
def stop(*_):
    log.write_text(log.read_text() + "saved\\n")
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
done = log.read_text().count("saved") if log.exists() else 0
log.write_text((log.read_text() if log.exists() else "") + "began\\n")
time.sleep(30 if done == 0 else 0)
log.write_text(log.read_text() + "done\\n")
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path / "study")
    made.give(Given(FORMAT_VERSION, "isoflop run", ["/x"], "1h", 0, "world", 475.0, budget_seconds=3600.0))
    RecordLog(made.records).write(Spent("prepare", "productive", 3540.0))  # a minute is left
    return made


@pytest.fixture
def intensity(tmp_path: Path) -> Path:
    """Two clean stretches, half a minute each, with ten dirty seconds between them."""
    begin = waiting.now()
    times = [(0, 900), (1, 100), (31, 900), (41, 100), (71, 900), (4000, 900)]
    path = tmp_path / "hourly.csv"
    path.write_text("".join(f"{(begin + timedelta(seconds=s)).isoformat()},{grams}\n" for s, grams in times))
    return path


def work(monkeypatch: pytest.MonkeyPatch, log: Path, code: int) -> None:
    """A script in the place of `isoflop resume`, and a clock that runs ten times as fast."""
    script = log.with_suffix(".py")
    script.write_text(WORK)
    begin, real = waiting.now(), waiting.now
    popen, sleep = waiting.subprocess.Popen, waiting.time.sleep
    monkeypatch.setattr(waiting, "now", lambda: begin + 10 * (real() - begin))
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: sleep(seconds / 10))

    class Process(popen):  # type: ignore[misc, valid-type]
        def __init__(self, command: list[str]) -> None:
            super().__init__([sys.executable, str(script), str(log), str(code)])

        def wait(self, timeout: float | None = None) -> int:
            return int(super().wait(None if timeout is None else timeout / 10))

    monkeypatch.setattr(waiting.subprocess, "Popen", Process)


def test_it_works_in_clean_windows_and_rests_in_between(
    study: Study, intensity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(monkeypatch, tmp_path / "log", 0)
    told: list[str] = []
    found = resume_when_clean(study.folder, intensity=intensity, deadline="1h", tell=told.append)
    assert (tmp_path / "log").read_text().split() == ["began", "saved", "began", "done"]
    assert len(found.windows) == 2 and found.saved > 0.5
    assert "2 windows at 100 g CO2e/kWh" in told[0] and "paused" in told[-1]


def test_work_that_fails_is_told(
    study: Study, intensity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text("saved\n")  # so that it does not wait
    work(monkeypatch, tmp_path / "log", 2)
    with pytest.raises(StudyError, match="the work ended with 2"):
        resume_when_clean(study.folder, intensity=intensity, deadline="1h", tell=lambda _: None)


def test_deadlines_that_will_not_do_are_refused(study: Study, intensity: Path) -> None:
    with pytest.raises(BudgetError, match="--deadline: '5kWh' is no time"):
        resume_when_clean(study.folder, intensity=intensity, deadline="5kWh", tell=lambda _: None)
    with pytest.raises(BudgetError, match=r"--intensity: 0\.0 hours are known"):
        resume_when_clean(study.folder, intensity=intensity, deadline="10s", tell=lambda _: None)
