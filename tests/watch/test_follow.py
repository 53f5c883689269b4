"""A study that goes on while it is watched, and what Prometheus is told."""

from __future__ import annotations

import io
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from isoflop.core.errors import IsoflopError, StudyError
from isoflop.core.journal import RecordLog
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import Spent, StageFinished, StageStarted
from isoflop.study import Given, Study
from isoflop.watch import follow
from isoflop.watch.follow import watch

GIVEN = Given(FORMAT_VERSION, "isoflop run", ["/elsewhere"], "10min", 0, "world", 475.0, budget_seconds=600.0)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path / "demo-study")
    made.give(GIVEN)
    return made


def console() -> Console:
    return Console(file=io.StringIO(), width=100, color_system=None)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_once_is_one_screen(study: Study) -> None:
    RecordLog(study.records).write(StageStarted("pilots"))
    out = console()
    watch(study.folder, once=True, port=None, console=out)
    told = out.file.getvalue()  # type: ignore[attr-defined]
    assert "demo-study · pilots" in told and "10 min" in told


def test_it_goes_on_until_the_study_ends_and_answers_on_this_machine_alone(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SECONDS", 0.02)
    log, port = RecordLog(study.records), free_port()
    log.write(Spent("train", "productive", 30.0))
    watcher = threading.Thread(target=lambda: watch(study.folder, once=False, port=port, console=console()))
    watcher.start()
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            break
        except OSError:
            threading.Event().wait(0.02)
    assert "isoflop_spent_seconds 30.0" in text and "isoflop_budget_seconds 600.0" in text
    log.write(StageFinished("report", 1.0))
    watcher.join(timeout=10)
    assert not watcher.is_alive()


def test_what_is_no_study_and_a_port_that_is_taken_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        watch(tmp_path, once=True, port=None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(IsoflopError, match=r"--prometheus: port \d+ cannot be used"):
            watch(study.folder, once=False, port=taken.getsockname()[1], console=console())
