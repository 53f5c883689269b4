from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
import torch

import toy
from isoflop.core.errors import CorruptFileError, Interrupted
from isoflop.core.journal import RecordLog
from isoflop.core.products import FORMAT_VERSION, Plan
from isoflop.core.records import Evaluation, PilotFinished, Record, RunStarted, Spent
from isoflop.stages import train as stage
from isoflop.stages.plan import measured_speedup
from isoflop.stages.train import _booked_seconds, trained
from isoflop.study import Given, Study
from isoflop.text.prepare import load, open_split, prepare
from isoflop.train.checkpoint import Store
from isoflop.train.safety import Safety
from isoflop.train.trainer import Trainer

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import SHAPES, TRUE, machine


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Everything that the train stage finds: a corpus, a machine and a plan of 30 steps."""
    made = Study(tmp_path_factory.mktemp("train") / "study")
    made.give(Given(FORMAT_VERSION, "isoflop run", [], "10min", 0, "world", 475.0, budget_seconds=600.0))
    prepare([toy.write_texts(made.folder.parent / "texts", num_files=40, sentences=30)], made.corpus)
    manifest = load(made.corpus)
    shape = toy.config(vocab_size=manifest.vocab_size)
    recipe = toy.recipe(num_steps=30, unique_tokens=manifest.train.num_tokens)
    made.write("machine.json", machine())
    made.write("plan.json", toy.plan(shape, recipe))
    return made


def test_training_leaves_the_model_that_the_next_stages_open(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.train.target.landed", lambda anchor, *rest, **more: anchor)
    log = RecordLog(study.records)
    stage.train(study, toy.session(log.write))
    log.close()
    finished, plan = trained(study), study.plan
    assert (finished.num_done, finished.progress) == (30, 1.0)
    shards = open_split(study.corpus, study.manifest.train)
    fresh = Trainer(finished.config, plan.recipe, shards, dtype="float32")
    before = [float(fresh.step()[0]) for _ in range(30)]
    after = [parameter.detach() for parameter in fresh.model.parameters()]
    assert all((a == b).all() for a, b in zip(after, finished.model.parameters(), strict=True))
    assert before[-1] < before[0]


def test_what_was_lost_before_is_not_lost_again(tmp_path: Path) -> None:
    study = Study(tmp_path)
    log = RecordLog(study.records)
    for spent in (
        Spent("plan", "productive", 9.0),
        Spent("train", "start", 2.0),
        Spent("train", "productive", 30.0),
        Spent("train", "evaluation", 1.0),
        Spent("train", "productive", -10.0),
        Spent("train", "lost", 10.0),
        Spent("train", "productive", 25.0),
    ):
        log.write(spent)
    log.close()
    assert _booked_seconds(study) == 30 + 1 - 10 + 25


@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_the_plans_speed_beside_the_models(tmp_path: Path, factor: float) -> None:
    study = Study(tmp_path)
    recipe = toy.recipe(context=256, batch_tokens=2048)
    speed = factor * 2048 / TRUE.step_seconds(SHAPES[3], batch_tokens=2048)
    plan: Plan = dataclasses.replace(toy.plan(SHAPES[3], recipe), tokens_per_second=speed)
    study.write("machine.json", machine())
    study.write("plan.json", plan)
    assert measured_speedup(study) == pytest.approx(factor, rel=0.02)


TRUNK_STEPS, TRUNK_BATCH = 20, 32


def trunk_of(study: Study) -> Trainer:
    """A pilot's trunk of the plan's shape in ``pilots/grid-w64``, its point in the records."""
    recipe = dataclasses.replace(study.plan.recipe, batch_tokens=TRUNK_BATCH)
    shards = open_split(study.corpus, study.manifest.train)
    trunk = Trainer(toy.config(vocab_size=study.manifest.vocab_size), recipe, shards, dtype="float32")
    for _ in range(TRUNK_STEPS):
        trunk.step()
    log = RecordLog(study.records)
    tokens = trunk.tokens_seen
    log.write(
        PilotFinished("grid-w64", 64, 2, 1, tokens, 1000, 1.0, 3.0, 2.0, 0.01, TRUNK_BATCH, TRUNK_STEPS, 3, "grid", 1.0)
    )
    log.close()
    Store(study.pilots / "grid-w64").save(trunk.snapshot())
    return trunk


def test_a_plan_that_continues_a_trunk_starts_from_its_weights_and_counts_its_tokens(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle and resumed, too: the trunk is then behind the run's own checkpoint."""
    monkeypatch.setattr("isoflop.train.target.landed", lambda anchor, *rest, **more: anchor)
    made = Study(tmp_path / "study")
    shutil.copytree(study.folder, made.folder, ignore=shutil.ignore_patterns("run", "records.jsonl"))
    trunk = trunk_of(made)
    plan: Plan = dataclasses.replace(made.plan, continues="grid-w64")
    made.write("plan.json", plan)
    written: list[Record] = []
    monkeypatch.setattr(Safety, "must_save", property(stop_at_step_10))
    with pytest.raises(Interrupted):
        stage.train(made, toy.session(written.append))
    monkeypatch.undo()
    monkeypatch.setattr("isoflop.train.target.landed", lambda anchor, *rest, **more: anchor)
    shutil.rmtree(made.pilots)  # no longer needed
    stage.train(made, toy.session(written.append))

    by_hand = Trainer(trunk.config, plan.recipe, open_split(made.corpus, made.manifest.train), dtype="float32")
    by_hand.adopt(trunk.snapshot(), tokens=trunk.tokens_seen)
    pairs = zip(trunk.model.parameters(), by_hand.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    for _ in range(30):
        by_hand.step()
    finished = trained(made)
    pairs = zip(finished.model.parameters(), by_hand.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (finished.num_done, finished.progress) == (30, 1.0)
    assert finished.tokens_seen == TRUNK_STEPS * TRUNK_BATCH + plan.tokens
    assert [r.from_step for r in written if isinstance(r, RunStarted)] == [0, 10]
    evaluations = [r.tokens for r in written if isinstance(r, Evaluation)]
    assert evaluations[0] > TRUNK_STEPS * TRUNK_BATCH and evaluations[-1] == finished.tokens_seen


def stop_at_step_10(run: Safety) -> bool:
    if run.trainer.num_done == 10:
        run.save()
        run.store.wait()
        raise Interrupted("stopped")
    return False


def test_a_trained_model_without_its_checkpoint_is_refused(study: Study, tmp_path: Path) -> None:
    made = Study(tmp_path / "study")
    shutil.copytree(study.folder, made.folder, ignore=shutil.ignore_patterns("run"))
    with pytest.raises(CorruptFileError, match="checkpoint is missing"):
        trained(made)


def test_a_plan_whose_trunk_is_gone_is_refused(study: Study, tmp_path: Path) -> None:
    made = Study(tmp_path / "study")
    shutil.copytree(study.folder, made.folder, ignore=shutil.ignore_patterns("run"))
    made.write("plan.json", dataclasses.replace(made.plan, continues="grid-w64"))
    with pytest.raises(CorruptFileError, match=r"grid-w64: the pilot .* is missing\. Delete plan\.json, then resume"):
        stage.train(made, toy.session(lambda record: None))
