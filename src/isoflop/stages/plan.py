"""Law and machine to plan.json: choose the shape, measure it, promise."""

from __future__ import annotations

import shutil

import torch

from isoflop.core.session import Session
from isoflop.evaluate.score import bits_per_byte_of
from isoflop.law.predict import Law
from isoflop.machine.measure import pick_device, time_steps
from isoflop.machine.throughput import fit_throughput
from isoflop.model.config import ModelConfig
from isoflop.plan.planner import Choice, Question, best, consider, make_plan, what_if
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.stages.pilots import grid_points
from isoflop.stages.setting import closing_seconds, context_of, num_val_tokens, setting_of
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.train.pilot import score_split
from isoflop.train.trainer import Snapshot, Trainer

COMPILE_SPEEDUP, COMPILE_SECONDS = 1.3, 12.0
"""Expected of compiling block and head on a CPU (docs/log.md); measured before it is relied on."""
HELDOUT_SD = 0.006
"""Relative spread between validation and test loss over which documents are held out (docs/log.md)."""
OVERLAP_SD = 0.3
"""Added to it for held-out text that can all be copied: at an overlap of .18 a first forecast was 9 % off (log, 6)."""


def question_of(study: Study) -> Question:
    """What any plan on this study is made of."""
    setting, given = setting_of(study), study.given
    if study.decided("heldout_ratio") is None:
        study.decide("heldout_ratio", heldout_ratio(study), rule="test over validation bits of the costliest pilot")
    return Question(
        machine=study.machine,
        throughput=setting.throughput,
        law=Law.from_report(study.law),
        manifest=study.manifest,
        shapes=setting.shapes,
        context=setting.context,
        seed=given.seed,
        heldout_sd=HELDOUT_SD + OVERLAP_SD * (study.decided("heldout_overlap") or 0.0),
        heldout_ratio=study.decided("heldout_ratio"),
        dollars_per_hour=given.price_per_hour,
        grams_co2e_per_kwh=given.grams_co2e_per_kwh,
    )


def plan(study: Study, session: Session) -> None:
    """Law and machine to plan.json: choose the shape, measure it, promise."""
    with session.ledger.activity("plan", "productive"):
        question = question_of(study)
        closing = closing_seconds(study)
        expected = COMPILE_SPEEDUP if can_compile() else 1.0
        choices = consider(question, seconds=session.seconds_left() - closing - COMPILE_SECONDS, speedup=expected)
        choice = best(choices)
    speed, compiled = _calibrate(choice, question, session, left=session.seconds_left() - closing)
    with session.ledger.activity("plan", "productive"):
        training = session.seconds_left() - closing
        answers = what_if(
            question,
            budget_seconds=study.budget_seconds,
            training_seconds=training,
            speedup=expected if compiled else 1.0,
        )
        result = make_plan(
            question,
            choice,
            choices,
            budget_seconds=study.budget_seconds,
            training_seconds=session.seconds_left() - closing_seconds(study, tokens_per_second=speed),
            tokens_per_second=speed,
            compiled=compiled,
            num_threads=torch.get_num_threads(),
            continues=_trunk_of(study, choice.config),
            what_if=answers,
            warnings=[],
        )
    study.write("plan.json", result)
    for warning in result.warnings:
        session.warn("plan", warning)


def heldout_ratio(study: Study) -> float:
    """Bits per byte of the test documents over those of validation, by the costliest pilot of the grid.

    The law knows validation documents only; chance makes one set harder than the other by some per cent. The ratio
    scales the forecast and nothing else: no test document has a say in what is trained.
    """
    pilot = max(grid_points(study), key=lambda point: point.flops)
    manifest, dtype = study.manifest, study.machine.dtype
    config = shape(pilot.hidden_size, vocab_size=manifest.vocab_size, context=context_of(study))
    recipe = recipe_for(1e6, 1e6, context=context_of(study), unique_tokens=manifest.train.num_tokens, seed=0)
    trainer = Trainer(config, recipe, text.open_split(study.corpus, manifest.train), dtype=dtype)
    snapshot = Snapshot.load(study.pilots / pilot.run)
    assert snapshot is not None, "a finished pilot leaves its trunk"
    trainer.restore(snapshot)
    num_tokens = num_val_tokens(study)
    test, val = (
        bits_per_byte_of(score_split(trainer, study.corpus, split, num_tokens=num_tokens, dtype=dtype))
        for split in (manifest.test, manifest.val)
    )
    return test / val


def can_compile() -> bool:
    """Whether torch.compile will find what it needs: a C++ compiler, or a GPU (where Triton comes along)."""
    return torch.cuda.is_available() or any(map(shutil.which, ("g++", "c++", "clang++")))


def _calibrate(choice: Choice, question: Question, session: Session, *, left: float) -> tuple[float, bool]:
    """Tokens/s of the chosen shape, and whether compiled: measured eager and, where it may pay, compiled."""
    device = pick_device()
    counts = choice.candidate.num_parameters
    recipe = recipe_for(
        counts.matmul, choice.tokens, context=question.context, unique_tokens=1 << 16, seed=question.seed
    )
    dtype = question.machine.dtype
    with session.ledger.activity("plan", "productive"):
        eager = time_steps(choice.config, recipe, dtype=dtype, device=device, seconds=1.0)
    if not can_compile() or left * (1 - 1 / COMPILE_SPEEDUP) < 1.5 * COMPILE_SECONDS:
        return recipe.batch_tokens / eager.seconds, False
    with session.ledger.activity("train", "compile"):
        compiled = time_steps(choice.config, recipe, dtype=dtype, device=device, seconds=1.0, compiled=True)
    winner = min(eager, compiled, key=lambda timing: timing.seconds)
    return recipe.batch_tokens / winner.seconds, winner is compiled


def measured_speedup(study: Study) -> float:
    """How much faster the plan's shape was measured than the throughput model says of it, eager."""
    plan, throughput = study.plan, fit_throughput(study.machine)
    step = throughput.step_seconds(ModelConfig(**plan.model), batch_tokens=plan.recipe.batch_tokens)
    return plan.tokens_per_second * step / plan.recipe.batch_tokens


def _trunk_of(study: Study, config: ModelConfig) -> str | None:
    run = f"grid-w{config.hidden_size}"
    return run if (study.pilots / run / "checkpoint.json").exists() else None
