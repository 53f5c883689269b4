from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from isoflop.core.records import PilotFinished, RecordLog, RunStarted, read_records
from isoflop.model.count import count_parameters, flops_per_token
from isoflop.text.prepare import load
from isoflop.train import pilot
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


def test_killed_between_its_record_and_its_checkpoint_it_loses_no_point(
    corpus: Path, tmp_path: Path, whole: tuple[Path, list[PilotFinished]]
) -> None:
    log = RecordLog(tmp_path / "records.jsonl")
    log.write(whole[1][0])
    log.close()
    assert results(run_pilot(job(corpus, tmp_path))) == results(whole[1])


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
