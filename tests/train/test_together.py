"""Real processes on gloo."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from isoflop.core.errors import StudyError
from isoflop.core.journal import read_records
from isoflop.core.records import SessionStarted
from isoflop.train.together import time_together
from toy import config, isoflop, recipe, write_texts


def test_two_processes_take_steps_together() -> None:
    found, overhead = time_together(config(), recipe(), dtype="float32", seconds=0.2, size=2)
    assert overhead > 0.5  # two interpreters that load torch
    assert found.num_processes == 2 and found.seconds > 0
    assert (found.hidden_size, found.batch_tokens, found.compiled) == (64, 64, False)


def test_shares_are_timed_where_they_are_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    odd = dataclasses.replace(config(), intermediate_size=97)
    assert time_together(odd, recipe(), dtype="float32", seconds=0.2, size=2)[0].seconds > 0
    with pytest.raises(StudyError, match="2 processes cannot train together here"):
        time_together(odd, recipe(), dtype="float32", seconds=0.2, size=2, sharded=True)
    assert "--sharded: 2 processes cannot share evenly" in capfd.readouterr().err


def test_what_cannot_be_divided_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StudyError, match=r"--ranks: 2 processes cannot train together here .*Start with --ranks 1"):
        time_together(config(), recipe(batch_tokens=16), dtype="float32", seconds=0.2, size=2)


@pytest.mark.long
def test_a_whole_study_by_two_processes_keeps_its_budget(tmp_path: Path) -> None:
    out, texts = tmp_path / "study", write_texts(tmp_path / "texts", num_files=600, sentences=200)
    started = time.monotonic()
    done = isoflop("run", texts, "--budget", "80s", "--ranks", "2", "--out", out, "--json", timeout=300)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["seconds"] == pytest.approx(80, rel=0.06) and 0 < told["test_bits_per_byte"] < 8
    assert told["seconds"] == pytest.approx(seconds, rel=0.03)  # nothing is missing, nothing booked twice
    records = [stamped.record for stamped in read_records(out / "records.jsonl")]
    sessions = [record for record in records if isinstance(record, SessionStarted)]
    assert len(sessions) == 3 and "isoflop train" in sessions[1].command
    assert (out / "model" / "config.json").is_file()
