"""Trains the pilots; their points go to records.jsonl."""

from __future__ import annotations

import math
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import takewhile

from isoflop.core.errors import IsoflopError
from isoflop.core.ledger import spent_seconds
from isoflop.core.records import PilotFinished, StageStarted, read_records
from isoflop.core.session import Session
from isoflop.law.isoflop import EdgeMinimum, isoflop_minimum
from isoflop.plan.guess import guess_target
from isoflop.plan.pilots import Setting, choose_trunks, design, recentred
from isoflop.stages.setting import closing_seconds, setting_of
from isoflop.study import Study
from isoflop.train.pilot import PilotJob, run_pilot
from isoflop.train.workers import Workers

PILOT_SHARE = 0.11
"""Share of the budget that the pilots take; with law and plan it stays well under a fifth."""
RECENTRE_SHARE, MIN_RECENTRE_SECONDS = 0.02, 8.0
"""Share of the budget for one more trunk where the least loss lies at an end of the sizes."""


def run_pilots(study: Study, session: Session, workers: Workers | None) -> None:
    """Designs and trains the pilots, and one more beyond an end of the sizes if the least loss lies there."""
    setting = setting_of(study, num_workers=workers.num_workers if workers else 1)
    seconds = PILOT_SHARE * study.budget_seconds
    guess = guess_target(
        setting.throughput,
        setting.shapes,
        context=setting.context,
        seconds=study.budget_seconds - _spent_before(study) - seconds - closing_seconds(study),
        unique_tokens=setting.unique_tokens,
    )
    trunks = choose_trunks(setting, guess, core_seconds=seconds * setting.num_workers)
    jobs = design(setting, trunks, seconds=seconds)
    study.decide(
        "pilots",
        [f"{job.run}: {job.branch_steps[-1] * job.recipe.batch_tokens:,} tokens" for job in jobs],
        rule=f"sizes below the expected target (width {guess.config.hidden_size}), {PILOT_SHARE:.0%} of the budget",
    )
    with session.ledger.activity("pilots", "productive"):
        _train(jobs, session, workers)
        extra = _recentring(study, setting)
        if extra is not None:
            study.decide(
                "recentred", extra.run, rule="the pilots' least loss at equal FLOPs lay at an end of the sizes"
            )
            _train([extra], session, workers)


def _spent_before(study: Study) -> float:
    """Seconds spent until the stage first began: resumed after a kill, it designs the same pilots again."""
    records = read_records(study.records)
    return spent_seconds(takewhile(lambda s: s.record != StageStarted("pilots"), records))


def _train(jobs: list[PilotJob], session: Session, workers: Workers | None) -> None:
    futures: list[Future[list[PilotFinished]]] = []
    for done, job in enumerate(jobs, start=1):
        if workers is None:
            run_pilot(job)
            session.progress.update(done / len(jobs), pilot=job.run)
        else:
            futures.append(workers.submit(run_pilot, job))
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            last = future.result()[-1]
            session.progress.update(done / len(jobs), pilot=last.run, loss=last.loss)
    except BrokenProcessPool as error:
        raise IsoflopError(
            "a pilot's process was killed, most likely for lack of memory",
            remedy="Close other programs, then go on with: isoflop resume",
        ) from error


def _recentring(study: Study, setting: Setting) -> PilotJob | None:
    """One more trunk where the sizes do not enclose the least loss at equal FLOPs and the ladder has a next size."""
    edge = edge_minimum(grid_points(study))
    if edge is None or edge.side == "neither":
        return None
    trunk = recentred(setting.shapes, edge)
    seconds = RECENTRE_SHARE * study.budget_seconds
    if trunk is None or seconds < MIN_RECENTRE_SECONDS:
        return None
    return design(setting, [trunk], seconds=seconds)[0]


def grid_points(study: Study) -> list[PilotFinished]:
    """The finished points of the grid of sizes."""
    finished = [s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished)]
    return [point for point in finished if point.purpose in ("grid", "recentre")]


def edge_minimum(points: list[PilotFinished]) -> EdgeMinimum | None:
    """Whether the sizes enclose the least loss at the FLOPs that all trunks reached (interpolated in log FLOPs)."""
    sizes = sorted({point.num_parameters for point in points})
    if len(sizes) < 3:
        return None
    trunks = [sorted((p for p in points if p.num_parameters == size), key=lambda p: p.flops) for size in sizes]
    flops = min(trunk[-1].flops for trunk in trunks)
    found = isoflop_minimum(sizes, [_loss_at(trunk, flops) for trunk in trunks])
    return found if isinstance(found, EdgeMinimum) else None


def _loss_at(trunk: list[PilotFinished], flops: float) -> float:
    """The trunk's loss at ``flops``, linear in log FLOPs between its points (or beyond its last two)."""
    if len(trunk) == 1:
        return trunk[0].loss
    above = next((i for i, point in enumerate(trunk) if point.flops >= flops), len(trunk) - 1)
    a, b = trunk[max(0, above - 1)], trunk[max(1, above)]
    share = math.log(flops / a.flops) / math.log(b.flops / a.flops)
    return a.loss + share * (b.loss - a.loss)
