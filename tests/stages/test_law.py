from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from isoflop.core.records import PilotFinished, Record, RecordLog, Spent, StageStarted, Warned
from isoflop.stages.law import DEFAULT_NOISE_NATS, _overlap_warnings, _rate_warnings, _seed_noise, fit_law
from isoflop.stages.pilots import _spent_before, edge_minimum, grid_points
from isoflop.study import Given, Study
from toy import session


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


def test_rates_are_compared_at_like_tokens_only() -> None:
    trial = point(purpose="rate", loss=4.0, tokens=3_000_000)
    assert _rate_warnings([point(), trial]) == []
    assert _rate_warnings([trial]) == []


def test_the_law_is_fitted_to_grid_and_repeats_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.stages.law.unigram_nats", lambda study: 6.5)
    monkeypatch.setattr("isoflop.stages.law.heldout_overlap", lambda study: 0.3)
    study = Study(tmp_path)
    study.give(Given(1, "isoflop run", [], "10min", 0, "world", 475.0))
    log, written = RecordLog(study.records), list[Record]()
    for one in [*grid(), point(purpose="seed", loss=9.0), point(purpose="rate", loss=9.0)]:
        log.write(one)
    log.close()
    fit_law(study, session(written.append))
    law = study.law
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
    study.give(Given(1, "isoflop run", [], "10min", 0, "world", 475.0))
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
