from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path

import pytest

import toy
from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.ledger import by_stage, spent_seconds
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import SessionStarted, Spent
from isoflop.study import Given, Study, open_session

GIVEN = Given(
    format_version=FORMAT_VERSION,
    command="isoflop run texts --budget 10min",
    inputs=["/texts"],
    budget="10min",
    seed=0,
    grid="FRA",
    grams_co2e_per_kwh=56.0,
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path / "study")
    made.give(GIVEN)
    return made


def test_what_was_given_comes_back(study: Study) -> None:
    assert study.exists and study.given == GIVEN
    study.convert(600.0, "10 min")
    assert study.given == dataclasses.replace(GIVEN, budget_seconds=600.0, budget_conversion="10 min")
    assert study.budget_seconds == 600.0


def test_decisions_are_kept_beside_what_was_given(study: Study) -> None:
    study.decide("vocab_size", 2048, rule="by bytes")
    study.convert(600.0, "10 min")
    study.decide("pilots", ["a", "b"], rule="by time")
    study.decide("vocab_size", 1024, rule="by hand")
    table = tomllib.loads((study.folder / "study.toml").read_text())
    assert table["decided"] == {
        "vocab_size": {"value": 1024, "rule": "by hand"},
        "pilots": {"value": ["a", "b"], "rule": "by time"},
    }
    assert study.given.budget_seconds == 600.0


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not a study folder"):
        _ = Study(tmp_path).given
    assert not Study(tmp_path).exists


def test_another_format_version_is_refused(study: Study) -> None:
    study.give(dataclasses.replace(GIVEN, format_version=99))
    with pytest.raises(StudyError, match=r"format version 99.*reads version 2"):
        _ = study.given


@pytest.mark.parametrize("content", [b"[given\n", b"\xff\xfe", b"[given]\nformat_version = 2\nseed = 'x'\n"])
def test_a_damaged_study_file_is_told(study: Study, content: bytes) -> None:
    (study.folder / "study.toml").write_bytes(content)
    with pytest.raises(CorruptFileError):
        _ = study.given


def test_a_flipped_digit_of_a_product_is_found(study: Study) -> None:
    study.write("plan.json", toy.plan(toy.config(), toy.recipe(seed=1234)))
    path = study.folder / "plan.json"
    assert study.plan.recipe.seed == 1234
    path.write_text(path.read_text().replace("1234", "1235"))
    with pytest.raises(CorruptFileError, match=r"plan\.json: its content changed"):
        _ = study.plan


@pytest.mark.parametrize("name", ["machine", "law", "plan"])
def test_a_missing_product_names_the_way_on_and_a_damaged_one_the_file(study: Study, name: str) -> None:
    with pytest.raises(StudyError, match=rf"no {name}\.json yet.*resume"):
        getattr(study, name)
    (study.folder / f"{name}.json").write_text('{"form": 3}')
    with pytest.raises(CorruptFileError, match=rf"{name}\.json"):
        getattr(study, name)


def test_a_session_books_its_own_time_and_goes_on_counting(study: Study) -> None:
    with open_session(study, command="isoflop run", quiet=True) as (session, monitor):
        with session.ledger.activity("prepare", "productive"):
            sum(range(10_000))
        first = session.seconds_left()
        assert 0 < first < 600
        assert monitor is not None
    records = list(read_records(study.records))
    (started,) = [s.record for s in records if isinstance(s.record, SessionStarted)]
    assert started.pid == os.getpid() and started.command == "isoflop run"
    assert {("start", "start"), ("prepare", "productive")} <= set(by_stage(records))
    assert 600 - spent_seconds(records) == pytest.approx(first, abs=2.0)


def test_earlier_sessions_count_against_the_budget(study: Study) -> None:
    with open_session(study, command="isoflop run", quiet=True) as (session, _):
        alone = session.seconds_left()
    before = spent_seconds(read_records(study.records))
    log = RecordLog(study.records)
    log.write(Spent("pilots", "productive", 100.0))
    log.close()
    with open_session(study, command="isoflop resume", quiet=True) as (session, _):
        assert session.seconds_left() == pytest.approx(alone - before - 100.0, abs=3.0)


def test_two_do_not_work_on_one_study(study: Study) -> None:
    with (
        open_session(study, command="isoflop run", quiet=True),
        pytest.raises(StudyError, match=rf"another isoflop works on this study \(pid {os.getpid()}\)"),
        open_session(study, command="isoflop resume", quiet=True),
    ):
        pass
    with open_session(study, command="isoflop resume", quiet=True):
        pass
    started = [s.record for s in read_records(study.records) if isinstance(s.record, SessionStarted)]
    assert [record.command for record in started] == ["isoflop run", "isoflop resume"]


def test_a_session_that_fails_frees_the_study(study: Study) -> None:
    with pytest.raises(KeyError), open_session(study, command="isoflop run", quiet=True):
        raise KeyError
    with open_session(study, command="isoflop resume", quiet=True):
        pass


def test_a_budget_not_yet_converted_has_no_end(study: Study) -> None:
    study.give(dataclasses.replace(GIVEN, budget="1e15FLOP"))
    with open_session(study, command="isoflop run", quiet=True) as (session, _):
        assert session.seconds_left() == float("inf")
        study.convert(50.0, "")
        assert session.seconds_left() < 50
