"""``isoflop run`` and ``resume``: the stages in order, each skipped when its product is there."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from isoflop.core.errors import BudgetError, Interrupted, StudyError
from isoflop.core.journal import read_records
from isoflop.core.ledger import spent_seconds
from isoflop.core.process import AGAIN, MAX_RESTARTS, PARENT, die_with_parent
from isoflop.core.records import StageFinished, StageStarted
from isoflop.core.session import Session
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import pick_device
from isoflop.machine.monitor import Monitor
from isoflop.stages import artefact, corpus, evaluate, law, machine, pilots, plan, train
from isoflop.study import Study, open_session
from isoflop.train.apart import ROUNDS, team_of
from isoflop.train.checkpoint import Store
from isoflop.train.layout import TOGETHER, Layout, planned_layout
from isoflop.train.supervise import ASKED_CODE, supervise
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
    """Does every stage of the study that is not done yet; that of training in the processes that train together."""
    torch.set_num_threads(usable_cores())
    if study.given.ranks == 1:
        _in_a_session(study, STAGES, command=command, quiet=quiet)
        return
    at = [stage.name for stage in STAGES].index("train")
    _in_a_session(study, STAGES[:at], command=command, quiet=quiet)
    left, before = time.monotonic(), spent_seconds(read_records(study.records))
    if not STAGES[at].done(study):
        require_places(study.given.ranks)
        layout = planned_layout(study.plan, size=study.given.ranks)
        train_in_ranks(study, size=study.given.ranks, max_restarts=MAX_RESTARTS, quiet=quiet, layout=layout)
    booked = spent_seconds(read_records(study.records)) - before
    since = min(time.monotonic(), left + booked)  # what the others did not book, the next session does
    _in_a_session(study, STAGES[at + 1 :], command=command, quiet=quiet, since=since)


def require_places(ranks: int) -> None:
    """Raises `BudgetError` where there are fewer GPUs, or cores, than processes that should train together."""
    gpus = torch.cuda.device_count()
    places, what = (gpus, "GPUs") if gpus else (usable_cores(), "cores")
    if places < ranks:
        raise BudgetError(f"{ranks} processes on {places} {what}", where="--ranks", remedy=f"Take at most {places}")


def _in_a_session(
    study: Study, stages: Sequence[Stage], *, command: str, quiet: bool, since: float | None = None
) -> None:
    opened = open_session(study, command=command, quiet=quiet, since=since)
    with opened as (session, monitor), ExitStack() as stack:
        todo = [stage for stage in stages if not stage.done(study)]
        workers = _workers() if any(stage.name in ("measure", "pilots") for stage in todo) else None
        if workers is not None:
            stack.enter_context(workers)
        for stage in todo:
            if stage.name == "law" and workers is not None:
                stack.close()  # the pilots are over; their processes' memory and cores are free again
                workers = None
            _do(stage, study, session, monitor, workers)


def train_in_ranks(study: Study, *, size: int, max_restarts: int, quiet: bool, layout: Layout = TOGETHER) -> int:
    """The stage of training in ``size`` processes, all of them anew when one dies (of those that train apart, that one
    alone where it does not lead); returns how often.

    Raises `Interrupted` where it was asked to stop, `StudyError` where attempt after attempt failed.
    """
    restarts: list[int] = []
    folder, options = str(study.folder), layout.options

    def restarting(attempt: int, code: int) -> None:
        restarts.append(code)
        print(f"isoflop: a process ended with {code}; attempt {attempt + 1}", file=sys.stderr, flush=True)

    code = supervise(
        [sys.executable, *AGAIN, "train", folder, *options, *(["--quiet"] if quiet else [])],
        size=size,
        max_restarts=max_restarts,
        restarting=restarting,
        apart=layout.agree_every is not None,
        progress=lambda: sorted(path.name for path in study.run.glob("checkpoint-*.json")),
    )
    if code:
        planned = study.given.ranks == size and layout == planned_layout(study.plan, size=size)
        again = ["resume", folder] if planned else ["train", folder, "--ranks", str(size), *options]
        failed = Interrupted if code == ASKED_CODE else StudyError
        raise failed(f"training ended with {code}", remedy=f"Go on with: isoflop {' '.join(again)}")
    return len(restarts)


def train_here(study: Study, *, command: str, quiet: bool, layout: Layout = TOGETHER) -> None:
    """The stage of training alone, in this process: as the leader, a follower, or the only one."""
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", usable_cores())))
    if int(os.environ.get("RANK", "0")) > 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # they reach the leader, which ends us
        ranks = team_of(layout, study.run / ROUNDS, pick_device())
        assert ranks is not None, "a rank beyond the first is one of several"
        ranks.follow(train.trainer_of(study, compiled=study.plan.compiled, ranks=ranks, layout=layout))
        return
    with open_session(study, command=command, quiet=quiet) as (session, monitor):
        with session.ledger.activity("train", "start"):
            ranks = team_of(layout, study.run / ROUNDS, pick_device())
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
