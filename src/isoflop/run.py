"""``isoflop run`` and ``resume``: the stages in order, each skipped when its product is there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from isoflop.core.process import die_with_parent
from isoflop.core.records import StageFinished, StageStarted, read_records
from isoflop.core.session import Session
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import pick_device
from isoflop.machine.monitor import Monitor
from isoflop.stages import artefact, corpus, evaluate, law, machine, pilots, plan, train
from isoflop.study import Study, open_session
from isoflop.train.checkpoint import Store
from isoflop.train.ranks import TOGETHER, Layout, Ranks
from isoflop.train.supervise import PARENT
from isoflop.train.workers import Workers


@dataclass(frozen=True)
class Stage:
    """A stage, how to tell that it is done, and its work."""

    name: str
    done: Callable[[Study], bool]
    work: Callable[[Study, Session, Workers | None], None]


STAGES = (
    Stage("prepare", lambda study: study.has("corpus/manifest.json"), lambda s, e, w: corpus.prepare(s, e)),
    Stage("measure", lambda study: study.has("machine.json"), machine.measure_machine),
    Stage("pilots", lambda study: finished(study, "pilots"), pilots.run_pilots),
    Stage("law", lambda study: study.has("law.json"), lambda s, e, w: law.fit_law(s, e)),
    Stage("plan", lambda study: study.has("plan.json"), lambda s, e, w: plan.plan(s, e)),
    Stage(
        "train",
        lambda study: finished(study, "train") and (study.has("model/config.json") or not Store(study.run).is_empty),
        lambda s, e, w: train.train(s, e),
    ),
    Stage("evaluate", lambda study: finished(study, "evaluate"), lambda s, e, w: evaluate.evaluate(s, e)),
    Stage("export", lambda study: study.has("model/config.json"), lambda s, e, w: artefact.export(s, e)),
    Stage("report", lambda study: False, lambda s, e, w: artefact.report(s, e)),
)


def finished(study: Study, stage: str) -> bool:
    """Whether the records say that the stage came to its end."""
    return any(
        isinstance(stamped.record, StageFinished) and stamped.record.stage == stage
        for stamped in read_records(study.records)
    )


def carry_out(study: Study, *, command: str, quiet: bool) -> None:
    """Does every stage of the study that is not done yet."""
    torch.set_num_threads(usable_cores())
    with open_session(study, command=command, quiet=quiet) as (session, monitor), ExitStack() as stack:
        todo = [stage for stage in STAGES if not stage.done(study)]
        workers = _workers() if any(stage.name in ("measure", "pilots") for stage in todo) else None
        if workers is not None:
            stack.enter_context(workers)
        for stage in todo:
            if stage.name == "law" and workers is not None:
                stack.close()  # the pilots are over; their processes' memory and cores are free again
                workers = None
            _do(stage, study, session, monitor, workers)


def train_here(study: Study, *, command: str, quiet: bool, layout: Layout = TOGETHER) -> None:
    """The stage of training alone, in this process: as the leader, a follower, or the only one."""
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", usable_cores())))
    if int(os.environ.get("RANK", "0")) > 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # they reach the leader, which ends us
        ranks = Ranks.from_environment(pick_device())
        assert ranks is not None, "a rank beyond the first is one of several"
        ranks.follow(train.trainer_of(study, compiled=study.plan.compiled, ranks=ranks, layout=layout))
        return
    with open_session(study, command=command, quiet=quiet) as (session, monitor):
        ranks = Ranks.from_environment(pick_device())
        stage = Stage("train", lambda _: False, lambda s, e, w: train.train(s, e, ranks, layout))
        try:
            _do(stage, study, session, monitor, None)
        finally:
            if ranks is not None:
                ranks.end()


def _do(stage: Stage, study: Study, session: Session, monitor: Monitor, workers: Workers | None) -> None:
    session.write(StageStarted(stage.name))
    session.progress.stage(stage.name)
    monitor.stage = stage.name
    started = time.monotonic()
    stage.work(study, session, workers)
    session.write(StageFinished(stage.name, time.monotonic() - started))


def _workers() -> Workers | None:
    """One worker a core, started early so that loading torch overlaps with preparing text; None on a GPU."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(usable_cores())
    cores = list(allowed)[: usable_cores()]
    if len(cores) < 2 or pick_device().type == "cuda":
        return None
    return Workers(cores)
