from __future__ import annotations

import math
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isoflop.core.errors import DivergedError, IsoflopError, StudyError
from isoflop.core.journal import RecordLog
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import PilotFinished, Record, Spent, StageStarted, Warned
from isoflop.law.prior import Prior
from isoflop.plan.guess import guess_target
from isoflop.stages import pilots
from isoflop.stages.law import (
    DEFAULT_NOISE_NATS,
    Counted,
    _overlap_warnings,
    _rate_warnings,
    _seed_noise,
    fit_law,
    unigram_nats,
)
from isoflop.stages.pilots import _next, _spent_before, _time_for, edge_minimum, grid_points, run_pilots
from isoflop.stages.setting import setting_of
from isoflop.study import Given, Study
from toy import session

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import CONTEXT, SHAPES, TRUE, machine, manifest, setting


def point(**changes: Any) -> PilotFinished:
    fields: dict[str, Any] = {
        "run": "grid-w64",
        "hidden_size": 64,
        "num_layers": 2,
        "num_parameters": 200_000,
        "tokens": 1_000_000,
        "unique_tokens": 2_000_000,
        "flops": 1.2e12,
        "loss": 5.0,
        "bits_per_byte": 2.0,
        "learning_rate": 0.01,
        "batch_tokens": 512,
        "num_steps": 2000,
        "seed": 0,
        "purpose": "grid",
        "seconds": 10.0,
    }
    return PilotFinished(**(fields | changes))


def law_loss(size: float, tokens: float) -> float:
    return 1.6 + 60 / size**0.36 + 300 / tokens**0.31


def grid(*, sizes: tuple[int, ...] = (60_000, 200_000, 700_000)) -> list[PilotFinished]:
    """Trunks of equal time, so that larger sizes see fewer tokens."""
    points = []
    for size in sizes:
        for share in (0.25, 0.5, 1.0):
            tokens = int(share * 4e13 / size)
            loss, flops = law_loss(size, tokens), 6.0 * size * tokens
            changes = {"num_parameters": size, "tokens": tokens, "flops": flops, "loss": loss}
            points.append(point(run=f"grid-{size}", hidden_size=size // 1000, **changes))
    return points


def test_noise_is_the_spread_of_repeated_seeds() -> None:
    found = [point(loss=5.0), point(loss=5.06, purpose="seed", seed=1), point(loss=4.0, tokens=7)]
    assert _seed_noise(found) == pytest.approx(0.06 / math.sqrt(2))


def test_without_a_repeated_seed_the_default_holds_and_luck_is_not_believed() -> None:
    assert _seed_noise([point()]) == DEFAULT_NOISE_NATS
    assert _seed_noise([point(), point(purpose="seed", seed=1)]) == DEFAULT_NOISE_NATS / 2


@pytest.mark.parametrize(("gain", "warned"), [(0.1, True), (0.001, False), (-0.1, False)])
def test_a_clearly_better_rate_is_told(gain: float, warned: bool) -> None:
    trial = point(purpose="rate", loss=5.0 - gain, learning_rate=0.02, run="rate-w64-x2")
    assert [warning.code for warning in _rate_warnings([point(), trial])] == ["learning_rate_off"] * warned


@pytest.mark.parametrize("other", [{"tokens": 1_000_512}, {"batch_tokens": 1024}, {"num_layers": 3}])
def test_pilots_are_compared_where_nothing_else_differs(other: dict[str, int]) -> None:
    assert _rate_warnings([point(), point(purpose="rate", loss=4.0, **other)]) == []
    assert _seed_noise([point(), point(purpose="seed", loss=4.0, **other)]) == DEFAULT_NOISE_NATS
    assert _rate_warnings([point(purpose="rate")]) == []


def test_the_law_is_fitted_to_grid_and_repeats_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.stages.law.prior_of", lambda study, drop: Prior.measured(6.5))
    monkeypatch.setattr("isoflop.stages.law.heldout_overlap", lambda study: 0.3)
    monkeypatch.setattr("isoflop.stages.law.count_trigrams", lambda study: Counted(None, 1.01, 0.02, 0.0))
    study = Study(tmp_path)
    study.give(Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0))
    log, written = RecordLog(study.records), list[Record]()
    for one in [*grid(), point(purpose="seed", loss=9.0), point(purpose="rate", loss=9.0)]:
        log.write(one)
    log.close()
    fit_law(study, session(written.append))
    law = study.law
    assert study.decided("heldout_ratio") == 1.01
    assert len(law.points) == 9 and {p.loss for p in law.points} == {p.loss for p in grid()}
    assert [w.code for w in law.warnings] == [r.code for r in written if isinstance(r, Warned)][: len(law.warnings)]


def test_the_grids_minimum_is_looked_for_at_equal_cost() -> None:
    inside = grid(sizes=(20_000, 60_000, 200_000, 700_000, 2_500_000))
    assert edge_minimum(inside) is None
    falling = edge_minimum([p for p in inside if p.num_parameters <= 60_000 or p.num_parameters == 20_000])
    assert falling is None  # two sizes say nothing
    edge = edge_minimum([p for p in inside if p.num_parameters >= 200_000])
    assert edge is not None and edge.side == "smallest" and edge.size == 200_000


def test_a_resumed_study_counts_time_up_to_the_first_start_of_the_pilots(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.give(Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0))
    log = RecordLog(study.records)
    for record in (
        Spent("prepare", "productive", 5.0),
        StageStarted("measure"),
        Spent("measure", "productive", 7.0),
        StageStarted("pilots"),
    ):
        log.write(record)
    first = _spent_before(study)
    for record in (Spent("pilots", "productive", 30.0), StageStarted("pilots"), point(purpose="seed"), point()):
        log.write(record)
    log.close()
    assert first == _spent_before(study) == 12.0
    assert grid_points(study) == [point()]


def test_much_overlap_is_told() -> None:
    assert [warning.code for warning in _overlap_warnings(0.3)] == ["heldout_overlaps_train"]
    assert _overlap_warnings(0.01) == []


def test_the_entropy_is_that_of_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [np.array([0, 0, 1, 1], dtype=np.uint16), np.array([2, 3, 2, 3], dtype=np.uint16)]
    monkeypatch.setattr("isoflop.stages.law.text.open_split", lambda folder, split: shards)
    study: Any = SimpleNamespace(corpus=tmp_path, manifest=manifest())
    assert unigram_nats(study) == pytest.approx(math.log(4))


@pytest.mark.parametrize(("gain", "at_once"), [(1.2, 2), (1.0, 1), (0.8, 1)])
def test_pilots_run_side_by_side_where_that_was_measured_faster(tmp_path: Path, gain: float, at_once: int) -> None:
    measured = replace(machine(), side_by_side_gain=gain, num_cores=2)
    given = Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0)
    study: Any = SimpleNamespace(
        machine=measured, manifest=manifest(), budget_seconds=600.0, given=given, folder=tmp_path
    )
    assert setting_of(study).num_workers == at_once


def stopped(tmp_path: Path, points: list[PilotFinished]) -> Study:
    """A study of ten minutes with these points on record."""
    study = Study(tmp_path)
    study.give(Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0, budget_seconds=600.0))
    log = RecordLog(study.records)
    for one in points:
        log.write(one)
    log.close()
    return study


def test_a_study_killed_after_the_next_trunks_asks_for_the_same_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isoflop.stages.law.prior_of", lambda study, drop: Prior.measured(6.5))
    made, wanted = setting(), guess_target(TRUE, SHAPES, context=CONTEXT, seconds=500.0, unique_tokens=2.5e6)
    before = stopped(tmp_path / "before", [*grid(), point(purpose="seed", loss=9.0)])
    first = _next(before, made, wanted, seconds=36.0)
    assert len(first) == made.num_workers and before.decided("next_pilots") == [job.run for job in first]
    told = [point(purpose="next", num_parameters=p.num_parameters * 3, loss=2.0) for p in grid()[-3:]]
    after = stopped(tmp_path / "after", [*told, *reversed(grid()), point(purpose="seed", loss=9.0)])
    again = _next(after, made, wanted, seconds=36.0)
    assert [(job.run, job.recipe) for job in again] == [(job.run, job.recipe) for job in first]
    assert _next(before, made, wanted, seconds=0.0) == []


@pytest.mark.parametrize(("budget", "rest"), [(600.0, 0.0), (1200.0, 24.0)])
def test_planning_takes_less_than_a_tenth(tmp_path: Path, budget: float, rest: float) -> None:
    study: Any = SimpleNamespace(budget_seconds=budget)
    assert _time_for(study) == (pytest.approx(0.082 * budget - rest), rest)


def run_with(monkeypatch: pytest.MonkeyPatch, study: Study, results: dict[str, Any]) -> list[Record]:
    """Runs the stage without its design or training: each job gives its points (recorded) or raises."""

    def run(job: Any, tick: Any) -> list[PilotFinished]:
        tick()
        if isinstance(results[job.run], Exception):
            raise results[job.run]
        log = RecordLog(study.records)
        for one in results[job.run]:
            log.write(one)
        log.close()
        return list(results[job.run])

    written: list[Record] = []
    monkeypatch.setattr(pilots, "setting_of", lambda study: replace(setting(num_workers=1), shapes=()))
    monkeypatch.setattr(pilots, "expected_target", lambda *_: None)
    monkeypatch.setattr(pilots, "_next", lambda *_, **__: [])
    monkeypatch.setattr(pilots, "_design", lambda *_, **__: [SimpleNamespace(run=run) for run in results])
    monkeypatch.setattr(pilots, "run_pilot", run)
    run_pilots(study, session(written.append), None)
    return [record for record in written if isinstance(record, Warned)]


def test_a_pilot_that_diverges_is_dropped_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = stopped(tmp_path, [])
    warned = run_with(monkeypatch, study, {"grid-w96": DivergedError("diverged", where="grid-w96"), "a": [point()]})
    assert [(w.code, "grid-w96" in w.message) for w in warned] == [("pilot_diverged", True)]
    assert grid_points(study) == [point()]


def test_nothing_is_left_where_every_pilot_diverges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = {"grid-w96": DivergedError("diverged"), "seed-w96": [point(purpose="seed")]}
    with pytest.raises(StudyError, match="every pilot diverged"):
        run_with(monkeypatch, stopped(tmp_path, []), results)


def test_a_best_size_that_the_pilots_do_not_enclose_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [replace(p, loss=10.0 - p.num_parameters / 1e6) for p in grid()]
    enclosed = grid(sizes=(20_000, 60_000, 200_000, 700_000, 2_500_000))
    for name, points, told in (("edge", falling, ["edge_minimum"]), ("inside", enclosed, [])):
        warned = run_with(monkeypatch, stopped(tmp_path / name, []), {"a": points})
        assert [w.code for w in warned] == told


def test_no_smaller_model_on_offer_is_nothing_to_warn_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rising = [replace(p, loss=2.0 + p.num_parameters / 1e6) for p in grid()]
    assert run_with(monkeypatch, stopped(tmp_path, []), {"a": rising}) == []


def test_the_live_line_moves_before_a_pilot_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, dict[str, Any]]] = []
    clock = iter([0.0, 20.0, 30.0, 99.0])
    monkeypatch.setattr(pilots, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    progress: Any = SimpleNamespace(update=lambda share, **facts: shown.append((share, facts)))
    watch = pilots._Watch(progress, num_jobs=2, seconds=40.0)
    watch.show()
    watch.add([point(loss=4.5)])
    watch.show()
    assert shown == [
        (0.5, {"pilot": "0 of 2"}),
        (0.75, {"pilot": "1 of 2", "loss": 4.5}),
        (0.99, {"pilot": "1 of 2", "loss": 4.5}),
    ]


def test_workers_are_watched_and_a_killed_one_names_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future[list[PilotFinished]]] = [Future(), Future()]
    waiting = iter(futures)
    monkeypatch.setattr(pilots, "SHOW_SECONDS", 0.01)
    workers: Any = SimpleNamespace(submit=lambda *_: next(waiting))
    shown: list[int] = []

    def show() -> None:
        shown.append(1)
        if len(shown) == 3:
            futures[1].set_result([point()])

    jobs: Any = [SimpleNamespace(run="a"), SimpleNamespace(run="b")]
    results = pilots._results(jobs, workers, show)
    assert next(results)() == [point()] and len(shown) > 3
    futures[0].set_exception(BrokenProcessPool())
    waiting = iter(futures)
    with pytest.raises(IsoflopError, match=f"isoflop resume {tmp_path}"):
        pilots._train(Study(tmp_path), jobs, session(list[Record]().append), workers, seconds=1.0)
