"""Trains the pilots; their points go to records.jsonl."""

from __future__ import annotations

from isoflop.core.session import Session
from isoflop.plan.guess import guess_target
from isoflop.plan.pilots import design
from isoflop.stages.setting import closing_seconds, setting_of
from isoflop.study import Study
from isoflop.train.pilot import run_pilot
from isoflop.train.workers import Workers

PILOT_SHARE = 0.11
"""Share of the budget that pilots take; with law and plan it stays well under a fifth."""


def run_pilots(study: Study, session: Session, workers: Workers | None) -> None:
    """Trains the pilots; their points go to records.jsonl."""
    setting = setting_of(study, num_workers=workers.num_workers if workers else 1)
    seconds = PILOT_SHARE * study.budget_seconds
    training = session.seconds_left() - seconds - closing_seconds(study)
    guess = guess_target(
        setting.throughput,
        setting.shapes,
        context=setting.context,
        seconds=training,
        unique_tokens=setting.unique_tokens,
    )
    jobs = design(setting, guess, seconds=seconds)
    study.decide(
        "pilots",
        [f"{job.run}: {job.branch_steps[-1] * job.recipe.batch_tokens:,} tokens" for job in jobs],
        rule=f"sizes below the expected target (width {guess.config.hidden_size}), {PILOT_SHARE:.0%} of the budget",
    )
    with session.ledger.activity("pilots", "productive"):
        if workers is None:
            for done, job in enumerate(jobs, start=1):
                run_pilot(job)
                session.progress.update(done / len(jobs), pilot=job.run)
            return
        futures = [workers.submit(run_pilot, job) for job in jobs]
        for done, future in enumerate(futures, start=1):
            points = future.result()
            session.progress.update(done / len(jobs), pilot=points[-1].run, loss=points[-1].loss)
