"""The job that `isoflop launch` writes, taken by a real cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.error import URLError

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


def launched(study: Path, on: str) -> str:
    """The job's name."""
    asked = ("--nodes", 1, "--devices", 2, "--device", "h100", "--submit", "--json")
    told = isoflop("launch", study, "--on", on, *asked)
    assert told.returncode == 0, told.stderr
    return str(json.loads(told.stdout)["job"])


def assert_ended_in_two_attempts(study: Path) -> None:
    sessions = [stamped.record for stamped in read_records(study / "records.jsonl")]
    trained = [each for each in sessions if isinstance(each, SessionStarted) and "isoflop train" in each.command]
    assert len(trained) == 2  # before and after
    assert target_steps(study) == sorted(set(target_steps(study)))  # nothing was done twice
    assert (study / "model" / "model.safetensors").exists()


@pytest.fixture
def ray_head(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of this machine, which says that it has two GPUs, and takes jobs."""
    pytest.importorskip("ray.job_submission", reason="needs ray[default]")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # jobs call isoflop by its name
    address, ray = "http://127.0.0.1:8265", shutil.which("ray")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", address)
    options = ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", "--num-gpus=2", "--disable-usage-stats"]
    head = subprocess.Popen([str(ray), "start", "--head", "--block", *options], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        assert head.poll() is None, "Ray's head ended"
        with suppress(URLError, TimeoutError), urllib.request.urlopen(f"{address}/api/jobs/", timeout=5.0):
            return True
        return False

    try:
        until(answers)
        yield
    finally:
        head.terminate()
        head.wait(timeout=120.0)  # it waits half a minute for others first


@pytest.mark.long
def test_a_study_on_ray_is_stopped_and_goes_on_when_it_is_launched_again(
    ray_head: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.job_submission import JobSubmissionClient

    study = tmp_path / "study"
    planned(study, write_texts(tmp_path / "texts", num_files=600, sentences=200))
    first, client = launched(study, "ray"), JobSubmissionClient()
    until(lambda: len(target_steps(study)) > 2 or client.get_job_status(first).is_terminal())
    client.stop_job(first)
    until(lambda: client.get_job_status(first).is_terminal())
    second = launched(study, "ray")
    until(lambda: client.get_job_status(second).is_terminal())
    assert client.get_job_status(second) == "SUCCEEDED", client.get_job_logs(second)
    assert_ended_in_two_attempts(study)
    assert (study / "report.html").exists()


@pytest.mark.long
def test_a_study_on_slurm_is_queued_anew_when_its_time_is_over_and_goes_on(
    slurm: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # jobs call isoflop by its name
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    study = tmp_path / "study"
    planned(study, write_texts(tmp_path / "texts", num_files=600, sentences=200))
    job = launched(study, "slurm")
    until(lambda: len(target_steps(study)) > 2)
    subprocess.run(["scancel", "--signal=USR1", job], check=True)  # as Slurm does some time before the end
    until((study / "report.html").exists)
    assert_ended_in_two_attempts(study)
