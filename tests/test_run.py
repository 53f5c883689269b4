from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from isoflop import run
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import Spent, StageFinished, StageStarted
from isoflop.run import STAGES, Stage, carry_out, finished
from isoflop.study import Given, Study
from isoflop.train.layout import Layout


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path)
    made.give(Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0, budget_seconds=600.0))
    return made


def stages(study: Study, did: list[str], *, fails: str = "") -> tuple[Stage, ...]:
    """Three stages: the first leaves a file, the others only their record."""

    def work(name: str) -> None:
        did.append(name)
        if name == fails:
            raise RuntimeError(name)
        if name == "one":
            study.write("one.json", {})

    return (
        Stage("one", lambda s: s.has("one.json"), lambda s, e, w: work("one")),
        Stage("two", lambda s: finished(s, "two"), lambda s, e, w: work("two")),
        Stage("three", lambda s: False, lambda s, e, w: work("three")),
    )


def test_the_stages_are_those_of_the_house() -> None:
    names = [stage.name for stage in STAGES]
    assert names == ["prepare", "measure", "pilots", "law", "plan", "train", "evaluate", "export", "report"]


def test_a_new_study_has_every_stage_to_do(study: Study) -> None:
    assert not any(stage.done(study) for stage in STAGES)


def test_stages_go_in_order_and_are_recorded(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(run, "STAGES", stages(study, did))
    carry_out(study, command="isoflop run", quiet=True)
    assert did == ["one", "two", "three"]
    records = [s.record for s in read_records(study.records) if isinstance(s.record, StageStarted | StageFinished)]
    assert [(type(r), r.stage) for r in records] == [
        (kind, name) for name in did for kind in (StageStarted, StageFinished)
    ]


def test_a_budget_that_is_not_in_seconds_is_carried_out(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study.give(dataclasses.replace(study.given, budget="1e15FLOP", budget_seconds=None))
    work = (
        Stage("prepare", lambda s: False, lambda s, e, w: time.sleep(0.01)),
        Stage("measure", lambda s: False, lambda s, e, w: s.convert(500.0, "1PFLOP at 2 TFLOP/s = 500 s")),
        Stage("pilots", lambda s: False, lambda s, e, w: None),
    )
    monkeypatch.setattr(run, "STAGES", work)
    monkeypatch.setattr(run, "_workers", lambda: None)
    carry_out(study, command="isoflop run", quiet=False)
    ended = [s.record for s in read_records(study.records) if isinstance(s.record, StageFinished)]
    assert [record.stage for record in ended] == ["prepare", "measure", "pilots"]
    assert 0.01 <= ended[0].seconds < 60
    before, _, after = capsys.readouterr().err.splitlines()
    assert before == "prepare" and "of budget left" in after


def test_what_is_done_is_not_done_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(run, "STAGES", stages(study, did, fails="two"))
    with pytest.raises(RuntimeError, match="two"):
        carry_out(study, command="isoflop run", quiet=True)
    assert not finished(study, "two")
    monkeypatch.setattr(run, "STAGES", stages(study, did))
    for _ in range(2):
        carry_out(study, command="isoflop resume", quiet=True)
    assert did == ["one", "two", "two", "three", "three"]


def test_processes_that_train_together_are_started_between_two_sessions(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.give(dataclasses.replace(study.given, ranks=2))
    did: list[str] = []

    def stage(name: str) -> Stage:
        return Stage(name, lambda s: finished(s, name), lambda s, e, w: did.append(name))

    def train(study: Study, *, size: int, layout: Layout, **rest: object) -> int:
        did.append(f"train in {size}")
        assert layout == Layout(sharded=True)
        time.sleep(0.4)
        with closing(RecordLog(study.records)) as log:
            log.write(Spent("train", "productive", 0.3))
        return 0

    monkeypatch.setattr(run, "STAGES", tuple(map(stage, ("plan", "train", "evaluate"))))
    monkeypatch.setattr(run, "train_in_ranks", train)
    monkeypatch.setattr(Study, "plan", SimpleNamespace(sharded=True))
    monkeypatch.setattr(run, "require_places", lambda ranks: None)
    carry_out(study, command="isoflop run", quiet=True)
    assert did == ["plan", "train in 2", "evaluate"]
    spent = [s.record for s in read_records(study.records) if isinstance(s.record, Spent)]
    starts = [record.seconds for record in spent if record.activity == "start"]
    assert len(starts) == 2 and 0.05 < starts[1] < 0.3  # what those who trained did not book
