from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

import toy
from isoflop.core.products import Plan
from isoflop.core.records import RecordLog, Spent
from isoflop.stages import train as stage
from isoflop.stages.plan import measured_speedup
from isoflop.stages.train import _booked_seconds, trained
from isoflop.study import Given, Study
from isoflop.text.prepare import load, open_split, prepare
from isoflop.train.trainer import Trainer

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import SHAPES, TRUE, machine


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Everything that the train stage finds: a corpus, a machine and a plan of 30 steps."""
    made = Study(tmp_path_factory.mktemp("train") / "study")
    made.give(Given(1, "isoflop run", [], "10min", 0, "world", 475.0, budget_seconds=600.0))
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
