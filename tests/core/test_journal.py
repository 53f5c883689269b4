import json
import os
import signal
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.errors import CorruptFileError, DiskError, DivergedError, StudyError
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.records import (
    KINDS,
    Evaluation,
    PilotFinished,
    Record,
    RunStarted,
    Scored,
    SessionStarted,
    Spent,
    StageFinished,
    StageStarted,
    Warned,
)

VALUES = {"str": "text", "int": 3, "float": 0.5, "bool": True, "str | None": None, "list[int]": [3, 5]}


def example(kind: type[Record]) -> Record:
    return kind(**{field.name: VALUES[str(field.type)] for field in fields(kind) if field.default is MISSING})


def written(path: Path) -> list[Record]:
    return [stamped.record for stamped in read_records(path)]


def fill(path: Path, records: list[Record], *, claim: bool = False) -> None:
    log = RecordLog(path)
    if claim:
        log.claim()
    for record in records:
        log.write(record)
    log.close()


def test_every_kind_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = [example(kind) for kind in KINDS.values()]
    fill(path, records)
    assert written(path) == records
    assert all(json.loads(line)["kind"] in KINDS for line in path.read_text().splitlines())


def test_stamps_are_in_order(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    fill(path, [StageStarted("corpus"), StageStarted("law")])
    first, second = read_records(path)
    assert 1.7e9 < first.time <= second.time


def test_a_missing_file_holds_no_records(tmp_path: Path) -> None:
    assert written(tmp_path / "absent.jsonl") == []


@given(st.text())
def test_any_text_stays_on_its_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    records: list[Record] = [Warned("corpus", "code", text), StageStarted("law")]
    fill(path, records)
    assert written(path) == records


def test_every_torn_last_line_is_ignored_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    fill(path, [StageStarted("corpus"), Spent("corpus", "read", 1.5)])
    whole = path.read_bytes()
    first_line = whole.index(b"\n") + 1
    for length in range(first_line, len(whole)):
        path.write_bytes(whole[:length])
        assert written(path) == [StageStarted("corpus")]
        fill(path, [StageStarted("law")], claim=True)
        assert written(path) == [StageStarted("corpus"), StageStarted("law")]


def test_a_file_of_half_a_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"kind": "sta')
    fill(path, [StageStarted("law")], claim=True)
    assert written(path) == [StageStarted("law")]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1, 2]",
        '{"kind": "unheard_of", "time": 1.0}',
        '{"time": 1.0, "stage": "law"}',
        '{"kind": "stage_started", "stage": "law"}',
        '{"kind": "stage_started", "time": 1.0}',
        '{"kind": "stage_started", "time": 1.0, "stage": 3}',
        "",
    ],
)
def test_a_bad_line_inside_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    fill(path, [StageStarted("corpus")])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorruptFileError, match=r"records\.jsonl:2: not a record"):
        written(path)


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"kind": "stage_started", "time": 1.0, "stage": "law", "mood": "good"}\n')
    assert written(path) == [StageStarted("law")]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_whose_numbers_are_not_finite_is_named_and_not_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "records.jsonl"
    log = RecordLog(path)
    with pytest.raises(DivergedError, match=r"grid-w64: the run diverged.*evaluation"):
        log.write(Evaluation("grid-w64", "val", 10, 1000, value, 1.0, 500, 0.1))
    log.close()
    assert path.read_bytes() == b""


def test_a_log_without_a_claim_leaves_a_line_that_another_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"kind": "sta')
    RecordLog(path).close()
    assert path.read_bytes() == b'{"kind": "sta'


def test_only_one_claims_the_records_until_it_closes(tmp_path: Path) -> None:
    first, second = (RecordLog(tmp_path / "records.jsonl") for _ in range(2))
    first.claim()
    first.write(SessionStarted("isoflop run", "0", 4242))
    with pytest.raises(StudyError, match=r"another isoflop works on this study \(pid 4242\)"):
        second.claim()
    second.write(StageStarted("law"))  # a pilot's process may write
    first.close()
    second.claim()
    second.close()


def test_results_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, synced = RecordLog(tmp_path / "records.jsonl"), []
    monkeypatch.setattr(os, "fsync", synced.append)
    log.write(Spent("law", "fit", 1.0))
    assert synced == []
    for kind in (StageFinished, PilotFinished, Scored):
        log.write(example(kind))
    assert len(synced) == 3
    log.close()


def test_run_started_keeps_all_three_parameter_counts() -> None:
    assert {"num_parameters_all", "num_parameters_non_embedding", "num_parameters_matmul"} <= {
        field.name for field in fields(RunStarted)
    }


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file")
    with pytest.raises(DiskError, match="a file stands where a folder is needed"):
        RecordLog(tmp_path / "study" / "records.jsonl")


WRITER = """
import sys
from pathlib import Path
from isoflop.core.journal import RecordLog
from isoflop.core.records import Spent
log = RecordLog(Path(sys.argv[1]))
for number in range(10**9):
    log.write(Spent("run", "productive", float(number)))
    if number == 200:
        print("going", flush=True)
"""


def test_kill_nine_while_writing_loses_no_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    seconds = [record.seconds for record in written(path) if isinstance(record, Spent)]
    assert len(seconds) > 200
    assert seconds == [float(number) for number in range(len(seconds))]
