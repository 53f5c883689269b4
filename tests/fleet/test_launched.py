"""The job that `isoflop launch` writes, taken by a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pieces
import pytest

from isoflop.core.journal import read_records
from isoflop.core.records import SessionStarted, Step
from toy import environment, isoflop, write_texts

until = partial(pieces.until, patience=240.0)


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
def test_a_study_on_slurm_is_queued_anew_when_its_time_is_over_and_goes_on(
    slurm: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # jobs call isoflop by its name
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
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
