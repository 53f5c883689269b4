"""The job that `isoflop launch` writes, taken by a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import MISSING, slurm_here

from isoflop.core.journal import read_records
from isoflop.core.records import SessionStarted, Step
from toy import environment, isoflop, write_texts

PATIENCE = 240.0


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if MISSING:
        pytest.skip(f"no {MISSING} here: apt-get install slurm-wlm")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # jobs call isoflop by its name
    with slurm_here(tmp_path_factory.mktemp("slurm")) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def planned(study: Path, texts: Path) -> None:
    """What `isoflop run` leaves when it is stopped after the plan."""
    command = [sys.executable, "-m", "isoflop", "run", texts, "--budget", "100s", "--ranks", "2", "--out", study]
    running = subprocess.Popen([*map(str, command), "--quiet"], env=environment())
    until(lambda: (study / "plan.json").exists() or running.poll() is not None)
    running.send_signal(signal.SIGINT)
    assert running.wait() == 130


def target_steps(study: Path) -> list[int]:
    records = [stamped.record for stamped in read_records(study / "records.jsonl")]
    return [record.step for record in records if isinstance(record, Step) and record.run == "target"]


@pytest.mark.long
@pytest.mark.usefixtures("slurm")
def test_a_study_on_slurm_is_queued_anew_when_its_time_is_over_and_goes_on(tmp_path: Path) -> None:
    study = tmp_path / "study"
    planned(study, write_texts(tmp_path / "texts", num_files=600, sentences=200))
    asked = ("--nodes", 1, "--devices", 2, "--device", "h100", "--submit", "--json")
    told = isoflop("launch", study, "--on", "slurm", *asked)
    assert told.returncode == 0, told.stderr
    job = json.loads(told.stdout)["job"]
    until(lambda: len(target_steps(study)) > 2)
    subprocess.run(["scancel", "--signal=USR1", job], check=True)  # as Slurm does some time before the end
    until((study / "report.html").exists)
    sessions = [stamped.record for stamped in read_records(study / "records.jsonl")]
    trained = [each for each in sessions if isinstance(each, SessionStarted) and "isoflop train" in each.command]
    assert len(trained) == 2  # before and after
    assert target_steps(study) == sorted(set(target_steps(study)))  # nothing was done twice
    assert (study / "model" / "model.safetensors").exists()
