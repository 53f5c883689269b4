from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from isoflop.core.errors import DivergedError
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.records import PilotFinished, Record, RunStarted
from isoflop.model.count import count_parameters, flops_per_token
from isoflop.text.prepare import load
from isoflop.train import pilot
from isoflop.train.checkpoint import Store
from isoflop.train.pilot import MIN_STEPS, PilotJob, run_pilot
from toy import config, recipe

BRANCHES = [2 * MIN_STEPS, 4 * MIN_STEPS]


def job(corpus: Path, folder: Path, **changes: Any) -> PilotJob:
    manifest = load(corpus)
    base = PilotJob(
        run="grid-w64",
        purpose="grid",
        model=dataclasses.asdict(config(vocab_size=manifest.vocab_size, num_hidden_layers=1)),
        recipe=recipe(num_steps=BRANCHES[-1], batch_tokens=16, unique_tokens=manifest.train.num_tokens),
        branch_steps=BRANCHES,
        seconds=1000.0,
        dtype="float32",
        num_val_tokens=2000,
        corpus=corpus,
        folder=folder / "pilots" / "grid-w64",
        records=folder / "records.jsonl",
    )
    return dataclasses.replace(base, **changes)


def recorded(folder: Path, kind: type[Any]) -> list[Any]:
    found = [stamped.record for stamped in read_records(folder / "records.jsonl")]
    return [record for record in found if isinstance(record, kind)]


def results(points: list[PilotFinished]) -> list[tuple[int, float]]:
    return [(point.num_steps, point.loss) for point in points]


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PilotFinished]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_pilot(job(corpus, folder))


def test_one_point_a_branch(corpus: Path, whole: tuple[Path, list[PilotFinished]]) -> None:
    folder, points = whole
    assert [point.num_steps for point in points] == BRANCHES
    assert recorded(folder, PilotFinished) == points
    shape = config(vocab_size=load(corpus).vocab_size, num_hidden_layers=1)
    for point in points:
        assert point.tokens == 16 * point.num_steps
        assert point.num_parameters == count_parameters(shape).matmul
        assert point.flops == point.tokens * flops_per_token(shape, context=16)
    assert points[1].loss < points[0].loss


def test_a_killed_pilot_goes_on_and_ends_with_the_same_points(
    corpus: Path, tmp_path: Path, whole: tuple[Path, list[PilotFinished]]
) -> None:
    run_pilot(job(corpus, tmp_path, branch_steps=BRANCHES[:1]))
    points = run_pilot(job(corpus, tmp_path))
    assert results(points) == results(whole[1])
    assert [run.from_step > 0 for run in recorded(tmp_path, RunStarted)] == [False, True]
    assert recorded(tmp_path, PilotFinished) == points  # the first was not trained again


class Killed(BaseException):
    pass


@pytest.mark.parametrize("num_points", [0, 1])
def test_killed_between_its_checkpoint_and_its_record_it_records_the_point_once(
    corpus: Path,
    tmp_path: Path,
    whole: tuple[Path, list[PilotFinished]],
    monkeypatch: pytest.MonkeyPatch,
    num_points: int,
) -> None:
    write = RecordLog.write

    def killed(log: RecordLog, record: Record) -> None:
        if isinstance(record, PilotFinished) and len(recorded(tmp_path, PilotFinished)) == num_points:
            raise Killed
        write(log, record)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RecordLog, "write", killed)
        run_pilot(job(corpus, tmp_path))
    assert Store(job(corpus, tmp_path).folder).latest() is not None  # so a point on record always has its trunk
    points = run_pilot(job(corpus, tmp_path))
    assert results(points) == results(whole[1])
    assert recorded(tmp_path, PilotFinished) == points


def test_a_pilot_that_diverges_says_so_and_leaves_nothing_false(corpus: Path, tmp_path: Path) -> None:
    wild = recipe(num_steps=BRANCHES[-1], batch_tokens=16, learning_rate=1e30)
    with pytest.raises(DivergedError, match="grid-w64") as caught:
        run_pilot(job(corpus, tmp_path, recipe=wild))
    assert recorded(tmp_path, PilotFinished) == []
    assert Store(job(corpus, tmp_path).folder).latest() is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # it comes back from a worker


def test_a_validation_loss_that_is_no_number_leaves_no_checkpoint(
    corpus: Path, tmp_path: Path, whole: tuple[Path, list[PilotFinished]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = dataclasses.replace(whole[1][0], loss=math.nan)
    monkeypatch.setattr(pilot, "_finished", lambda job, trainer, *, seconds: lost)
    with pytest.raises(DivergedError):
        run_pilot(job(corpus, tmp_path, branch_steps=[MIN_STEPS]))
    assert recorded(tmp_path, PilotFinished) == []
    assert Store(job(corpus, tmp_path).folder).latest() is None


def test_a_pilot_trains_on_the_device_it_was_timed_for(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(pilot, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(pilot, "Trainer", lambda *_, **named: asked.append(named))
    pilot._build(job(corpus, tmp_path))
    assert [named["device"] for named in asked] == ["cuda"]


def test_who_waits_hears_of_every_record(corpus: Path, tmp_path: Path) -> None:
    ticks: list[int] = []
    run_pilot(job(corpus, tmp_path, branch_steps=[MIN_STEPS]), lambda: ticks.append(1))
    assert len(ticks) == len(list(read_records(tmp_path / "records.jsonl"))) > 2


def test_a_finished_pilot_trains_nothing(corpus: Path, whole: tuple[Path, list[PilotFinished]]) -> None:
    folder, points = whole
    assert run_pilot(job(corpus, folder)) == points


def test_points_of_other_runs_are_not_its_own(corpus: Path, tmp_path: Path) -> None:
    done = run_pilot(job(corpus, tmp_path, branch_steps=[MIN_STEPS], run="other"))
    mine = dataclasses.replace(job(corpus, tmp_path, branch_steps=[MIN_STEPS]), folder=tmp_path / "pilots" / "mine")
    points = run_pilot(mine)
    assert results(points) == results(done)
    assert [point.run for point in points] == ["grid-w64"]


def test_a_machine_far_too_slow_still_gives_one_point(corpus: Path, tmp_path: Path) -> None:
    points = run_pilot(job(corpus, tmp_path, seconds=0.0, branch_steps=[20 * MIN_STEPS, 40 * MIN_STEPS]))
    assert len(points) == 1
    assert MIN_STEPS <= points[0].num_steps < 2 * MIN_STEPS


def test_validation_leaves_the_model_in_training(corpus: Path, tmp_path: Path) -> None:
    trainer = pilot._build(job(corpus, tmp_path))
    trainer.model.train()
    scores = pilot.validate(trainer, corpus, num_tokens=500, dtype="float32")
    assert scores.loss > 0 and trainer.model.training
