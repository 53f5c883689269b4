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
from isoflop.core.journal import read_records
from isoflop.core.ledger import spent_seconds
from isoflop.core.products import StudyWarning
from isoflop.core.progress import Progress
from isoflop.core.records import PilotFinished, StageStarted
from isoflop.core.session import Session
from isoflop.law.isoflop import EdgeMinimum, isoflop_minimum
from isoflop.machine.throughput import gain_together
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.guess import Guess, guess_target
from isoflop.plan.pilots import Setting, choose_trunks, design, next_trunks
from isoflop.stages.division import PILOT_SHARE, closing_of
from isoflop.stages.law import finished_pilots, law_of
from isoflop.stages.setting import setting_of
from isoflop.study import Study
from isoflop.train.pilot import PilotJob, run_pilot
from isoflop.train.workers import Workers

NEXT_SHARE, MIN_NEXT_SECONDS = 0.02, 20.0
"""Of the budget, within that share, for the trunks that the law of the others asks for; none where they would be
shorter: starting them takes seconds too, and short trunks tell little."""
SHOW_SECONDS = 1.0


def run_pilots(study: Study, session: Session, workers: Workers | None) -> None:
    """Designs and trains the pilots: a grid of sizes, then those that its law asks for."""
    setting = setting_of(study)
    workers = workers if setting.num_workers > 1 else None
    seconds, rest = _time_for(study)
    guess = expected_target(study, setting)
    jobs = _design(study, setting, guess, seconds=seconds)
    with session.ledger.activity("pilots", "productive"):
        _train(study, jobs, session, workers, seconds=seconds)
        if not grid_points(study):
            raise StudyError(
                "every pilot diverged",
                where=str(study.folder),
                remedy="Look at the text, or start again with another seed",
            )
        _train(study, _next(study, setting, guess, seconds=rest), session, workers, seconds=rest)
    edge = edge_minimum(grid_points(study))
    if edge is not None and (edge.side != "smallest" or _smaller(setting.shapes, edge.size)):
        session.warn("pilots", edge.warning())


def _time_for(study: Study) -> tuple[float, float]:
    """Seconds for the grid, and for the trunks after it."""
    rest = NEXT_SHARE * study.budget_seconds
    rest = rest if rest >= MIN_NEXT_SECONDS else 0.0
    return PILOT_SHARE * study.budget_seconds - rest, rest


def expected_target(study: Study, setting: Setting) -> Guess:
    """What will be trained, as far as it can be told before any pilot."""
    throughput = setting.throughput
    return guess_target(
        throughput,
        setting.shapes,
        context=setting.context,
        seconds=study.budget_seconds * (1 - PILOT_SHARE) - _spent_before(study),
        closing=lambda config: closing_of(study, throughput, config),
        unique_tokens=setting.unique_tokens,
        speedup=gain_together(setting.machine),
    )


def _design(study: Study, setting: Setting, guess: Guess, *, seconds: float) -> list[PilotJob]:
    """The pilots that take ``seconds`` together, noted in study.toml."""
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
        rule=f"sizes below the expected target (width {guess.config.hidden_size}), {seconds:.0f} s of the budget",
    )
    return jobs


def _next(study: Study, setting: Setting, guess: Guess, *, seconds: float) -> list[PilotJob]:
    """The trunks that the law of the grid asks for, noted in study.toml.

    They have no say in it themselves: killed after them, a study asks for the same ones again.
    """
    before = [point for point in finished_pilots(study) if point.purpose != "next"]
    grid = [point for point in before if point.purpose == "grid"]
    if not seconds or not grid:
        return []
    law = law_of(study, before)
    trunks = next_trunks(setting, law, guess, edge_minimum(grid), seconds=seconds)
    if not trunks:
        return []
    jobs = design(setting, trunks, seconds=seconds)
    study.decide(
        "next_pilots",
        [job.run for job in jobs],
        rule="what would make the forecast of the expected target surest, by the law of the pilots before",
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


def _smaller(shapes: tuple[ModelConfig, ...], size: float) -> bool:
    """Whether a model of fewer than ``size`` matmul parameters is on offer."""
    return any(count_parameters(config).matmul < size for config in shapes)


def grid_points(study: Study) -> list[PilotFinished]:
    """Those of the pilots' points that differ in size and tokens alone."""
    return [point for point in finished_pilots(study) if point.purpose in ("grid", "next")]


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
