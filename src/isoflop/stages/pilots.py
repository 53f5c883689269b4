"""Trains the pilots; their points go to records.jsonl."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import takewhile

from isoflop.core.errors import DivergedError, IsoflopError, StudyError
from isoflop.core.ledger import spent_seconds
from isoflop.core.products import StudyWarning
from isoflop.core.progress import Progress
from isoflop.core.records import PilotFinished, StageStarted, read_records
from isoflop.core.session import Session
from isoflop.law.isoflop import EdgeMinimum, isoflop_minimum
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
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
SHOW_SECONDS = 1.0


def run_pilots(study: Study, session: Session, workers: Workers | None) -> None:
    """Designs and trains the pilots, and one more beyond an end of the sizes if the least loss lies there."""
    setting = setting_of(study)
    workers = workers if setting.num_workers > 1 else None
    seconds = PILOT_SHARE * study.budget_seconds
    jobs = _design(study, setting, seconds=seconds)
    with session.ledger.activity("pilots", "productive"):
        _train(study, jobs, session, workers, seconds=seconds)
        if not grid_points(study):
            raise StudyError(
                "every pilot diverged",
                where=str(study.folder),
                remedy="Look at the text, or start again with another seed",
            )
        extra = _recentring(study, setting)
        if extra is not None:
            study.decide(
                "recentred", extra.run, rule="the pilots' least loss at equal FLOPs lay at an end of the sizes"
            )
            _train(study, [extra], session, workers, seconds=extra.seconds)
    edge = edge_minimum(grid_points(study))
    if edge is not None and (edge.side != "smallest" or _smaller(setting.shapes, edge.size)):
        session.warn("pilots", edge.warning())


def _design(study: Study, setting: Setting, *, seconds: float) -> list[PilotJob]:
    """The pilots that take ``seconds`` together, noted in study.toml."""
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
        "pilots_at_once",
        setting.num_workers,
        rule=f"a run a core if together faster than one on all: {setting.machine.side_by_side_gain:.2f} times as fast",
    )
    study.decide(
        "pilots",
        [f"{job.run}: {job.branch_steps[-1] * job.recipe.batch_tokens:,} tokens" for job in jobs],
        rule=f"sizes below the expected target (width {guess.config.hidden_size}), {PILOT_SHARE:.0%} of the budget",
    )
    return jobs


def _spent_before(study: Study) -> float:
    """Seconds spent until the stage first began: resumed after a kill, it designs the same pilots again."""
    records = read_records(study.records)
    return spent_seconds(takewhile(lambda s: s.record != StageStarted("pilots"), records))


class _Watch:
    """The live line of pilots: the share of their planned seconds that is over, how many are done, the last loss."""

    def __init__(self, progress: Progress, *, num_jobs: int, seconds: float) -> None:
        self.progress, self.num_jobs, self.seconds = progress, num_jobs, seconds
        self.started = time.monotonic()
        self.num_done = 0
        self.facts: dict[str, float] = {}

    def show(self) -> None:
        share = min(0.99, (time.monotonic() - self.started) / self.seconds)
        self.progress.update(share, pilot=f"{self.num_done} of {self.num_jobs}", **self.facts)

    def add(self, points: list[PilotFinished]) -> None:
        self.num_done += 1
        self.facts = {"loss": points[-1].loss} if points else self.facts
        self.show()


def _train(study: Study, jobs: list[PilotJob], session: Session, workers: Workers | None, *, seconds: float) -> None:
    """Runs the jobs, planned to take ``seconds``; one that diverges is dropped with a warning."""
    watch = _Watch(session.progress, num_jobs=len(jobs), seconds=seconds)
    try:
        for result in _results(jobs, workers, watch.show):
            try:
                watch.add(result())
            except DivergedError as error:
                message = f"pilot {error.where}: {error.what}; the law does without the rest of it"
                session.warn("pilots", StudyWarning("pilot_diverged", message))
                watch.add([])
    except BrokenProcessPool as error:
        raise IsoflopError(
            "a pilot's process was killed, most likely for lack of memory",
            remedy=f"Close other programs, then go on with: isoflop resume {study.folder}",
        ) from error


def _results(
    jobs: list[PilotJob], workers: Workers | None, show: Callable[[], None]
) -> Iterator[Callable[[], list[PilotFinished]]]:
    """For each job, in the order they end, what gives its points; ``show`` is called every second or two meanwhile."""
    if workers is None:
        yield from (partial(run_pilot, job, show) for job in jobs)
        return
    running = {workers.submit(run_pilot, job) for job in jobs}
    while running:
        ended, running = wait(running, timeout=SHOW_SECONDS, return_when=FIRST_COMPLETED)
        show()
        yield from (future.result for future in ended)


def _recentring(study: Study, setting: Setting) -> PilotJob | None:
    """One more trunk where the sizes do not enclose the least loss at equal FLOPs and the ladder has a next size.

    The trunk itself has no say in it: killed after it, a study asks for the same one again.
    """
    edge = edge_minimum([point for point in grid_points(study) if point.purpose == "grid"])
    if edge is None or edge.side == "neither":
        return None
    trunk = recentred(setting.shapes, edge)
    seconds = RECENTRE_SHARE * study.budget_seconds
    if trunk is None or seconds < MIN_RECENTRE_SECONDS:
        return None
    return design(setting, [trunk], seconds=seconds)[0]


def _smaller(shapes: tuple[ModelConfig, ...], size: float) -> bool:
    """Whether a model of fewer than ``size`` matmul parameters is on offer."""
    return any(count_parameters(config).matmul < size for config in shapes)


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
