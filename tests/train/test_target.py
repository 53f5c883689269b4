from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isoflop.core.errors import DivergedError, Interrupted
from isoflop.core.journal import RecordLog
from isoflop.core.products import Plan
from isoflop.core.records import (
    Audited,
    Evaluation,
    Landing,
    Record,
    RolledBack,
    RunStarted,
    Saved,
    Spent,
    Step,
    Warned,
)
from isoflop.text.prepare import load, open_split
from isoflop.train import audit, guard, safety, target
from isoflop.train.checkpoint import Store
from isoflop.train.schedule import Anchor
from isoflop.train.target import TargetRun
from isoflop.train.trainer import Trainer
from toy import config, plan, recipe, session


class Written(list[Record]):
    """The records of a run; ``signal_at`` evaluations, a SIGTERM comes."""

    signal_at = 0

    def write(self, record: Record) -> None:
        self.append(record)
        if self.signal_at and isinstance(record, Evaluation) and len(self.of(Evaluation)) == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self if isinstance(record, kind)]


def toy_plan(corpus: Path, *, training_seconds: float = 1000.0, **changes: Any) -> Plan:
    manifest = load(corpus)
    shape = config(vocab_size=manifest.vocab_size, dropout=0.1)
    usual = {"num_steps": 48, "unique_tokens": manifest.train.num_tokens}
    return plan(shape, recipe(**(usual | changes)), training_seconds=training_seconds)


def target_run(corpus: Path, folder: Path, chosen: Plan, written: Written) -> TargetRun:
    from isoflop.model.config import ModelConfig

    shards = open_split(corpus, load(corpus).train)
    trainer = Trainer(ModelConfig(**chosen.model), chosen.recipe, shards, dtype="float32")
    return TargetRun(trainer, chosen, session(written.write), corpus=corpus, folder=folder, peak_flops=1e12)


@pytest.fixture
def by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves no end: runs are as long as their plans say."""
    monkeypatch.setattr(target, "landed", lambda anchor, *rest, **more: anchor)


def test_a_run_from_beginning_to_end(corpus: Path, tmp_path: Path, by_steps: None) -> None:
    written = Written()
    run = target_run(corpus, tmp_path, toy_plan(corpus), written)
    run.resume(0.0)
    run.run()
    assert (run.trainer.num_done, run.trainer.progress) == (48, 1.0)
    (started,) = written.of(RunStarted)
    assert (started.role, started.from_step, started.num_steps) == ("target", 0, 48)
    assert [e.step for e in written.of(Evaluation)] == [6, 12, 18, 24, 30, 36, 42, 48]
    assert all(e.bits_per_byte > 0 and e.tokens == 64 * e.step for e in written.of(Evaluation))
    assert written.of(Step)[-1].step == 48
    assert [(one.step, one.num_bytes > 0) for one in written.of(Saved)] == [(0, True), (48, True)]
    saved = Store(tmp_path).latest()
    assert saved is not None and saved.num_done <= 48 and 0 < saved.place.seconds <= run.clock.seconds


def test_stopped_by_a_signal_and_resumed_it_ends_with_equal_bits(corpus: Path, tmp_path: Path, by_steps: None) -> None:
    whole = target_run(corpus, tmp_path / "whole", toy_plan(corpus), Written())
    whole.run()
    written = Written()
    written.signal_at = 3
    first = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped by SIGTERM at step 18"):
        first.run()
    assert signal.getsignal(signal.SIGTERM) == before
    second = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    second.resume(0.0)
    assert second.trainer.num_done == 18 and second.clock.seconds >= first.clock.before
    second.run()
    assert written.of(RunStarted)[-1].from_step == 18
    pairs = zip(whole.trainer.model.parameters(), second.trainer.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_what_a_kill_took_is_booked_as_lost_once(corpus: Path, tmp_path: Path) -> None:
    written = Written()
    run = target_run(corpus, tmp_path, toy_plan(corpus), written)
    run.safety.store.save(run.trainer.snapshot().of_run(seconds=20.0, losses=[], validated=0.0))
    run.resume(30.0)
    assert written == [Spent("train", "productive", -10.0), Spent("train", "lost", 10.0)]
    assert run.clock.seconds == pytest.approx(20.0, abs=1.0)
    run.meter.add(run.trainer.step())
    step = run.meter.flush()
    assert step is not None and step.seconds == pytest.approx(20.0, abs=2.0)


def damage(run: TargetRun, at: int, hurt: Callable[[torch.Tensor], object]) -> None:
    """Hurts the head's masters once, behind the step that makes ``at`` of them."""
    step, times = run.trainer.step, [at]

    def damaging() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        result = step()
        if times == [run.trainer.num_done]:
            times.clear()
            hurt(run.trainer.optimizer.parts["head"].state()["0.master"])
            run.trainer.optimizer.publish()
        return result

    run.trainer.step = damaging  # type: ignore[method-assign]


def poison(run: TargetRun, batch: int, factor: float) -> None:
    """Makes the loss of one batch of the stream, and what it teaches, wrong by a factor."""
    step = run.trainer.step

    def poisoned() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        bad = run.trainer.batch_number(run.trainer.num_done) == batch
        loss, norm, clipped = step()
        if bad:
            for parameter in run.trainer.optimizer.parts["embeddings"].state().values():
                parameter.mul_(factor)
        return (loss * factor if bad else loss), norm, clipped

    run.trainer.step = poisoned  # type: ignore[method-assign]


@pytest.mark.parametrize(("factor", "reason"), [(math.nan, "nan"), (10.0, "spike")])
@pytest.mark.parametrize("batch", [20, 47])
def test_a_poisoned_batch_is_passed_over_as_if_it_had_not_been_in_the_text(
    corpus: Path,
    tmp_path: Path,
    by_steps: None,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    reason: str,
    batch: int,
) -> None:
    monkeypatch.setattr(guard, "MIN_HISTORY", 10)
    clean = target_run(corpus, tmp_path / "clean", toy_plan(corpus), Written())
    clean.trainer.skipped = [batch]
    clean.run()
    written = Written()
    run = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    poison(run, batch, factor)
    run.run()
    (back,) = written.of(RolledBack)
    assert (back.reason, back.batches, back.to_step) == (reason, [batch], 0)
    assert [warned.code for warned in written.of(Warned)] == ["rolled_back"]
    assert run.trainer.num_done == 48
    mine, theirs = run.trainer.state(), clean.trainer.state()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    moved = [record for record in written.of(Spent) if record.activity in {"productive", "rolled back"}]
    assert [record.activity for record in moved] == ["productive", "rolled back"]
    assert moved[0].seconds == -moved[1].seconds < 0
    resumed = target_run(corpus, tmp_path / "run", toy_plan(corpus), Written())
    resumed.resume(0.0)
    assert resumed.trainer.skipped == [batch]


def test_a_replay_does_not_bring_back_a_batch_that_was_passed_over(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "save_interval", lambda *_, **__: 0.05)
    monkeypatch.setattr(audit, "SHARE", math.inf)
    written = Written()
    run = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    poison(run, 20, math.nan)
    run.run()
    assert len(written.of(RolledBack)) == 1 and {one.verdict for one in written.of(Audited)} == {"same"}
    assert run.trainer.skipped == [20] and run.trainer.num_done == 48


def test_a_checkpoint_that_holds_the_damage_itself_is_gone_behind(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update of step 20 ruins the weights; its own loss, taken before, is fine, and it is saved."""
    monkeypatch.setattr(safety, "save_interval", lambda *_, **__: 0.0)
    written = Written()
    run = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    damage(run, 20, lambda master: master.fill_(math.nan))
    run.run()
    assert [(back.reason, back.to_step) for back in written.of(RolledBack)] == [("nan", 20), ("nan", 19)]
    assert run.trainer.num_done == 48 and run.trainer.skipped == [20, 21]


def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "save_interval", lambda *_, **__: 0.0)
    whole = target_run(corpus, tmp_path, toy_plan(corpus), Written())
    whole.run()
    newest = sorted(tmp_path.glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    written = Written()
    run = target_run(corpus, tmp_path, toy_plan(corpus), written)
    run.resume(0.0)
    assert run.trainer.num_done in {47, 48}
    (warned,) = written.of(Warned)
    assert warned.code == "checkpoint_refused" and newest.name in warned.message
    run.run()
    assert all(
        torch.equal(a, b) for a, b in zip(whole.trainer.state().values(), run.trainer.state().values(), strict=True)
    )


def test_a_signal_while_validating_saves_at_once_and_the_validation_is_made_up_for(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, written = target.validate, Written()

    def interrupted(trainer: Trainer, *rest: Any, **more: Any) -> Any:
        if trainer.num_done == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(trainer, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(target, "validate", interrupted)
        first = target_run(corpus, tmp_path, toy_plan(corpus), written)
        with pytest.raises(Interrupted, match="stopped by SIGTERM at step 12"):
            first.run()
    assert [e.step for e in written.of(Evaluation)] == [6]
    second = target_run(corpus, tmp_path, toy_plan(corpus), written)
    second.resume(0.0)
    second.run()
    assert [e.step for e in written.of(Evaluation)] == [6, 13, 18, 24, 30, 36, 42, 48]


def test_a_signal_while_the_first_step_compiles_ends_the_run_at_once(
    corpus: Path, tmp_path: Path, by_steps: None
) -> None:
    run = target_run(corpus, tmp_path, toy_plan(corpus), Written())

    def compiling() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    run.trainer.step = compiling  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted, match="stopped by SIGTERM at step 0; everything is saved"):
        run.run()
    saved = Store(tmp_path).latest()
    assert saved is not None and saved.num_done == 0


def test_a_bit_that_flips_is_found_at_the_next_audit_and_the_run_ends_as_if_it_had_not(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "save_interval", lambda *_, **__: 0.0)
    clean = target_run(corpus, tmp_path / "clean", toy_plan(corpus), Written())
    clean.run()
    monkeypatch.setattr(audit, "SHARE", math.inf)
    written = Written()
    run = target_run(corpus, tmp_path / "run", toy_plan(corpus), written)
    damage(run, 20, lambda master: master.view(-1).view(torch.int32)[7].bitwise_xor_(1 << 20))
    run.run()
    audits = written.of(Audited)
    assert [(one.step, one.num_steps) for one in audits[:2]] == [(1, 1), (2, 1)]
    assert [one.step for one in audits if one.verdict != "same"] == [20]
    assert [warned.code for warned in written.of(Warned)] == ["silent_corruption"]
    mine, theirs = run.trainer.state(), clean.trainer.state()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_weights_that_are_no_numbers_are_never_saved(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "save_interval", lambda *_, **__: 0.0)  # after every step
    log = RecordLog(tmp_path / "records.jsonl")
    chosen = toy_plan(corpus)
    run = target_run(corpus, tmp_path / "run", chosen, Written())
    run = TargetRun(run.trainer, chosen, session(log.write), corpus=corpus, folder=tmp_path / "run", peak_flops=1e12)
    step = run.trainer.step

    def poisoned() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        loss, norm, clipped = step()
        return (loss * math.nan if run.trainer.num_done == 5 else loss), norm, clipped

    run.trainer.step = poisoned  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=r"diverges \(nan\) at step 4 after 5 new attempts"):
        run.run()
    log.close()
    saved = Store(tmp_path / "run").latest()
    assert saved is not None and saved.num_done <= 4


def test_nothing_is_lost_without_a_kill(corpus: Path, tmp_path: Path) -> None:
    written = Written()
    run = target_run(corpus, tmp_path, toy_plan(corpus), written)
    run.resume(0.0)
    assert written == []


def test_a_run_planned_far_too_long_lands_with_its_seconds(corpus: Path, tmp_path: Path) -> None:
    written = Written()
    chosen = toy_plan(corpus, training_seconds=4.0)
    run = target_run(corpus, tmp_path, chosen, written)
    run.trainer.anchor = Anchor(0, 0.0, 10_000_000)
    run.run()
    assert run.trainer.progress == 1.0
    assert 0 < run.trainer.num_done < 10_000_000
    assert written.of(Landing)[-1].num_steps == run.trainer.num_done


@pytest.fixture
def halfway(corpus: Path, tmp_path: Path) -> tuple[TargetRun, Written]:
    written = Written()
    run = target_run(corpus, tmp_path, toy_plan(corpus), written)
    run.trainer.num_done = 18
    return run, written


def test_validation_that_rises_twice_starts_the_decay(halfway: tuple[TargetRun, Written]) -> None:
    run, written = halfway
    for loss in (3.0, 3.0 + 2 * target.WORSE_NATS, 3.0 + 3 * target.WORSE_NATS):
        assert run.trainer.anchor == Anchor(0, 0.0, 48)
        run._judge(loss)
    anchor = run.trainer.anchor
    assert (anchor.step, anchor.progress, anchor.final) == (18, 0.6, True)
    assert (anchor.num_steps - 18) / anchor.num_steps == pytest.approx(0.4)
    assert [warned.code for warned in written.of(Warned)] == ["stopped_early"]
    assert written.of(Landing)[-1].num_steps == anchor.num_steps


@pytest.mark.parametrize(
    "losses",
    [
        (3.0, 2.9, 2.8),
        (3.0, 3.0 + 0.5 * target.WORSE_NATS, 3.0 + 0.9 * target.WORSE_NATS),
        (3.0, 3.5, 2.9, 3.4),
        (3.5,),
    ],
)
def test_noise_and_progress_do_not_stop_a_run(halfway: tuple[TargetRun, Written], losses: tuple[float, ...]) -> None:
    run, written = halfway
    for loss in losses:
        run._judge(loss)
    assert run.trainer.anchor == Anchor(0, 0.0, 48)
    assert written.of(Warned) == written.of(Landing) == []


def test_a_decaying_run_is_not_stopped_again(halfway: tuple[TargetRun, Written]) -> None:
    run, written = halfway
    run.trainer.num_done = 40
    for loss in (3.0, 4.0, 5.0):
        run._judge(loss)
    assert run.trainer.anchor == Anchor(0, 0.0, 48)
    assert written.of(Warned) == written.of(Landing) == []


def test_a_kill_does_not_forget_that_validation_rose(halfway: tuple[TargetRun, Written]) -> None:
    run, written = halfway
    for loss in (3.0, 3.0 + 2 * target.WORSE_NATS):
        run._judge(loss)
    run.safety.save()
    run.safety.store.wait()
    folder = run.safety.store.folder
    resumed = TargetRun(run.trainer, run.plan, run.session, corpus=run.corpus, folder=folder, peak_flops=1e12)
    resumed.resume(0.0)
    resumed._judge(3.0 + 2 * target.WORSE_NATS)
    assert resumed.trainer.anchor.final
    assert [warned.code for warned in written.of(Warned)] == ["stopped_early"]


def test_the_best_weights_are_kept_where_epochs_did_harm(
    corpus: Path, tmp_path: Path, by_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(trainer: Trainer, *_: Any, **__: Any) -> SimpleNamespace:
        loss = 3.5 - trainer.num_done / 24 if trainer.num_done <= 24 else 3.0 + trainer.num_done / 100
        return SimpleNamespace(loss=loss, num_bytes=np.ones(1))

    monkeypatch.setattr(target, "validate", scored)
    monkeypatch.setattr(target, "bits_per_byte_of", lambda scores: scores.loss)
    written, chosen = Written(), toy_plan(corpus, unique_tokens=1024)
    run = target_run(corpus, tmp_path, chosen, written)
    run.run()
    best = Store(tmp_path / target.BEST).latest()
    kept = Store(tmp_path).latest()
    assert best is not None and kept is not None and best.num_done == kept.num_done == run.trainer.num_done == 24
    assert all(torch.equal(tensor, best.tensors[name]) for name, tensor in kept.tensors.items())
    assert [warned.code for warned in written.of(Warned)] == ["best_restored"]
    assert [e.step for e in written.of(Evaluation)][-2:] == [48, 24] and written.of(Evaluation)[-1].loss == 2.5
    again = target_run(corpus, tmp_path, chosen, Written())  # killed before the stage was booked as done
    again.resume(0.0)
    again.run()
    assert (again.trainer.num_done, again.trainer.progress) == (24, 1.0)
