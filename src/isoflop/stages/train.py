"""The target run, to ``run/``."""

from __future__ import annotations

from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.journal import read_records
from isoflop.core.ledger import by_stage, spent_seconds
from isoflop.core.records import PilotFinished, SessionStarted, StageFinished, StageStarted
from isoflop.core.session import Session
from isoflop.machine.measure import pick_device
from isoflop.model.config import ModelConfig
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.train.cadence import seconds_between_failures
from isoflop.train.checkpoint import Store
from isoflop.train.layout import TOGETHER, Layout
from isoflop.train.ranks import Team
from isoflop.train.safety import STAGE
from isoflop.train.target import TargetRun
from isoflop.train.trainer import Trainer


def train(study: Study, session: Session, ranks: Team | None = None, layout: Layout = TOGETHER) -> None:
    """The target run, to ``run/``; with ``ranks``, as the leader of several processes in this layout."""
    plan = study.plan
    if (study.run / "checkpoint.json").exists():
        what, remedy = "a checkpoint of an earlier isoflop", "Go on with that, or delete the folder, then resume"
        raise StudyError(what, where=str(study.run), remedy=remedy)
    with session.ledger.activity(STAGE, "start"):
        trainer = trainer_of(study, compiled=plan.compiled, ranks=ranks, layout=layout)
        if plan.continues is not None and Store(study.run).is_empty:
            _adopt_trunk(study, trainer, plan.continues)
        peak = max(study.machine.matmul_flops_per_second.values())
        run = TargetRun(
            trainer,
            plan,
            session,
            corpus=study.corpus,
            folder=study.run,
            peak_flops=peak * study.machine.num_devices(ranks.size if ranks else 1),
            between_failures=_between_failures(study),
        )
        run.resume(_booked_seconds(study))
    with session.ledger.activity(STAGE, "productive"):
        run.run()


def trainer_of(study: Study, *, compiled: bool, ranks: Team | None = None, layout: Layout = TOGETHER) -> Trainer:
    """The plan's model at its first step."""
    plan = study.plan
    return Trainer(
        ModelConfig(**plan.model),
        plan.recipe,
        text.open_split(study.corpus, study.manifest.train),
        dtype=plan.dtype,
        compiled=compiled,
        device=str(pick_device()),
        ranks=ranks,
        layout=layout,
    )


def _booked_seconds(study: Study) -> float:
    """Seconds of training in the ledger that a checkpoint could hold; what was lost before is lost already."""
    totals = by_stage(read_records(study.records))
    return sum(s for (stage, what), s in totals.items() if stage == STAGE and what not in ("start", "compile", "lost"))


def _between_failures(study: Study) -> float:
    """Mean seconds between the failures of this study: sessions that left a stage unfinished for the next."""
    records = list(read_records(study.records))
    failures, at_work = 0, False
    for stamped in records:
        match stamped.record:
            case SessionStarted():
                failures, at_work = failures + at_work, False
            case StageStarted():
                at_work = True
            case StageFinished():
                at_work = False
    return seconds_between_failures(failures, spent_seconds(records))


def _adopt_trunk(study: Study, trainer: Trainer, run: str) -> None:
    """Starts from the trunk of a pilot; `CorruptFileError` where it is gone."""
    snapshot = Store(study.pilots / run).latest()
    if snapshot is None:
        where, remedy = str(study.pilots / run), "Delete plan.json, then resume"
        raise CorruptFileError("the pilot that the plan goes on from is missing", where=where, remedy=remedy)
    points = [
        s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished) and s.record.run == run
    ]
    trainer.adopt(snapshot, tokens=snapshot.num_done * points[-1].batch_tokens)


def trained(study: Study) -> Trainer:
    """The finished model, from its last checkpoint; `CorruptFileError` where that is gone."""
    store = Store(study.run)
    snapshot = store.latest()
    if store.refused:
        raise store.refused[0]  # the one before it is not the finished model
    if snapshot is None:
        raise CorruptFileError(
            "the trained model's checkpoint is missing", where=str(study.run), remedy="Restore it, or start a new study"
        )
    trainer = trainer_of(study, compiled=False)
    trainer.restore(snapshot)
    trainer.optimizer.publish_kept()
    return trainer
