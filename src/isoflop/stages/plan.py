"""Law and machine to plan.json: choose the shape, measure it, promise."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import torch

from isoflop.core.errors import StudyError, first_line
from isoflop.core.products import StepTiming, StudyWarning
from isoflop.core.session import Session
from isoflop.law.copying import Copying
from isoflop.law.predict import Law
from isoflop.machine.measure import pick_device, time_steps
from isoflop.machine.monitor import tree_use
from isoflop.machine.throughput import fit_throughput, gain_together
from isoflop.model.config import ModelConfig
from isoflop.plan.planner import (
    Choice,
    Question,
    Trunk,
    best,
    consider,
    is_sharded,
    make_plan,
    recipe_of,
    what_if,
)
from isoflop.plan.rules import DECAY_FRACTION
from isoflop.stages.division import closing_of, closing_seconds
from isoflop.stages.pilots import expected_target, grid_points
from isoflop.stages.setting import setting_of
from isoflop.study import Study
from isoflop.train.checkpoint import Store
from isoflop.train.together import time_together

COMPILE_SPEEDUP, COMPILE_SECONDS = 1.3, 12.0
"""Expected of compiling block and head on a CPU (docs/log.md); measured before it is relied on."""
CALIBRATION_SHARE, MAX_CALIBRATION_SECONDS = 0.004, 10.0
"""Of the time left; speeds drift over seconds on a shared machine, so a longer run deserves a longer look."""
SUSTAINED = 0.93
"""Mean speed of a whole run over what its calibration measured: 1.07, .97, .90, .88, .86, .93, .91, .86 and 1.00
(docs/log.md, 11, 12, 24, 29). The faster of two short looks is often a lucky one, and validations take 1 to 1.5 %."""
PROCESS_BYTES = 1_200_000_000
"""Python, torch, the allocator's slack, and the compiler's helper processes; more where earlier stages left memory that
their process keeps, which training then finds there (docs/log.md, 18)."""
HELDOUT_SD = 0.01
"""Relative spread of test over validation loss about what their trigram losses say (docs/log.md, 10)."""


def question_of(study: Study) -> Question:
    """What any plan on this study is made of."""
    law = Law.from_report(study.law)
    setting, given = setting_of(study), study.given
    machine, held = study.machine, tree_use(psutil.Process()).memory_bytes
    if given.ranks > 1:  # processes of their own, beside this one
        taken = held if machine.device == "cpu" else 0
        machine, held = dataclasses.replace(machine, memory_bytes=machine.memory_bytes - taken), 0
    return Question(
        machine=machine,
        throughput=setting.throughput,
        law=law,
        manifest=study.manifest,
        shapes=setting.shapes,
        context=setting.context,
        seed=given.seed,
        method=given.method,
        copying=Copying(_decided(study, "copy_gain"), max(point.tokens for point in law.report().points)),
        heldout_sd=HELDOUT_SD,
        heldout_ratio=_decided(study, "heldout_ratio"),
        dollars_per_hour=given.price_per_hour,
        grams_co2e_per_kwh=given.grams_co2e_per_kwh,
        ranks=given.ranks,
        may_share=study.plan.sharded if study.has("plan.json") else given.ranks > 1,
        process_bytes=max(PROCESS_BYTES, held),
    )


def _decided(study: Study, key: str) -> float:
    """What the law stage counted; `StudyError` where an earlier isoflop did not."""
    value = study.decided(key)
    if value is None:
        remedy = f"Delete law.json, then: isoflop resume {study.folder}"
        raise StudyError(f"study.toml does not hold {key}", where=str(study.folder), remedy=remedy)
    return float(value)


def plan(study: Study, session: Session) -> None:
    """Law and machine to plan.json: choose the shape, measure it, promise."""
    with session.ledger.activity("plan", "productive"):
        question = question_of(study)
        closing = expected_closing(study)
        eager = SUSTAINED * gain_together(question.machine)
        left, expected = session.seconds_left() - closing, eager
        if _is_worth_compiling(left):
            left, expected = left - COMPILE_SECONDS, eager * COMPILE_SPEEDUP
        choices = consider(question, seconds=left, speedup=expected)
    timing = partial(_calibrate, question=question, session=session, closing=closing)
    choice, speed, compiled = settle(question, choices, timing, seconds=left)
    warnings = []
    if question.may_share and not is_sharded(question, choice):
        warnings = _sharing_declined(question, best(choices), choice)
        question = dataclasses.replace(question, may_share=False)
        choices = consider(question, seconds=left, speedup=expected)
    with session.ledger.activity("plan", "productive"):
        training = session.seconds_left() - closing
        answers = what_if(
            question,
            budget_seconds=study.budget_seconds,
            training_seconds=training,
            speedup=expected if compiled else eager,
        )
        result = make_plan(
            question,
            choice,
            choices,
            budget_seconds=study.budget_seconds,
            training_seconds=session.seconds_left()
            - closing_seconds(study, tokens_per_second=speed / gain_together(question.machine)),
            tokens_per_second=speed,
            compiled=compiled,
            num_threads=torch.get_num_threads(),
            trunk=_trunk_of(study, choice.config),
            what_if=answers,
            warnings=warnings,
        )
    study.write("plan.json", result)
    for warning in result.warnings:
        session.warn("plan", warning)


def settle(
    question: Question,
    choices: list[Choice],
    calibrate: Callable[[Choice], tuple[float, bool]],
    *,
    seconds: float,
) -> tuple[Choice, float, bool]:
    """The best of the ``choices``, its tokens a second, and whether compiled. One that processes have to share was
    considered at the speed of those that need not; at its own, or where they cannot train it, the best of the others
    may be better. Raises `StudyError` where they cannot train that either."""
    choice = best(choices)
    whole = [other for other in choices if other.candidate.fits_memory and not is_sharded(question, other)]
    if not whole or not is_sharded(question, choice):
        return choice, *calibrate(choice)
    other = best(whole)
    try:
        speed, compiled = calibrate(choice)
    except StudyError:
        return other, *calibrate(other)
    reached = min(choice.tokens, speed * seconds)
    loss = question.law.loss(choice.candidate.num_parameters.matmul, reached, question.manifest.train.num_tokens)
    return (other, *calibrate(other)) if other.loss < loss else (choice, speed, compiled)


def _sharing_declined(question: Question, wanted: Choice, choice: Choice) -> list[StudyWarning]:
    """What to say where processes should have shared a larger model, and `settle` found that they had better not."""
    if not is_sharded(question, wanted):
        return []
    sizes = [each.candidate.num_parameters.all / 1e6 for each in (wanted, choice)]
    what = (
        f"no process can hold the {sizes[0]:.3g} M parameters that would be best, and sharing them is too slow here or "
        f"failed: each holds a model of {sizes[1]:.3g} M"
    )
    return [StudyWarning("sharing_declined", what)]


def expected_closing(study: Study) -> float:
    """Seconds after training, before it is known what will be trained."""
    setting = setting_of(study)
    return closing_of(study, setting.throughput, expected_target(study, setting).config)


def can_compile() -> bool:
    """Whether torch.compile will find what it needs: a C++ compiler, or a GPU (where Triton comes along)."""
    return torch.cuda.is_available() or any(map(shutil.which, ("g++", "c++", "clang++")))


def _is_worth_compiling(left: float) -> bool:
    """Where so many seconds are left to train in."""
    return can_compile() and left * (1 - 1 / COMPILE_SPEEDUP) >= 1.5 * COMPILE_SECONDS


def _calibrate(choice: Choice, *, question: Question, session: Session, closing: float) -> tuple[float, bool]:
    """Tokens/s to expect of the chosen shape, and whether compiled: measured eager and, where it may pay, compiled."""
    left = session.seconds_left() - closing
    recipe = dataclasses.replace(recipe_of(question, choice), unique_tokens=1 << 16)
    seconds = min(MAX_CALIBRATION_SECONDS, max(1.0, CALIBRATION_SHARE * left))
    options: dict[str, Any] = {"dtype": question.machine.dtype, "seconds": seconds}

    def measure(*, compiled: bool = False) -> StepTiming:
        if question.ranks > 1:
            layout: dict[str, Any] = {"size": question.ranks, "sharded": is_sharded(question, choice)}
            return time_together(choice.config, recipe, compiled=compiled, **layout, **options)[0]
        return time_steps(choice.config, recipe, device=pick_device(), compiled=compiled, **options)

    with session.ledger.activity("plan", "productive"):
        timings = [measure()]
    if _is_worth_compiling(left):
        with session.ledger.activity("train", "compile"):
            timings += _timed_compiled(measure, session)
    winner = min(timings, key=lambda timing: timing.seconds)
    return SUSTAINED * recipe.batch_tokens / winner.seconds, winner.compiled


def _timed_compiled(measure: Callable[..., StepTiming], session: Session) -> list[StepTiming]:
    """The compiled timing; none, and a warning, where the compiler fails (no headers, no writable cache, ...)."""
    try:
        return [measure(compiled=True)]
    except Exception as error:  # whatever the tool chain raises, the eager path works
        message = f"torch.compile failed ({first_line(error)[:120]}); training goes on without it"
        session.warn("plan", StudyWarning("compile_failed", message))
        return []


def measured_speedup(study: Study) -> float:
    """How much faster the plan's shape was measured than the throughput model says of it, eager."""
    plan, throughput = study.plan, fit_throughput(study.machine)
    step = throughput.step_seconds(ModelConfig(**plan.model), batch_tokens=plan.recipe.batch_tokens)
    return plan.tokens_per_second * step / plan.recipe.batch_tokens


def _trunk_of(study: Study, config: ModelConfig) -> Trunk | None:
    """The longest pilot whose trunk has the chosen shape, if one does."""
    for point in sorted(grid_points(study), key=lambda point: -point.tokens):
        if point.hidden_size == config.hidden_size and not Store(study.pilots / point.run).is_empty:
            decay = 0.0 if study.given.method.optimizer == "schedule-free" else DECAY_FRACTION
            return Trunk(point.run, int((1 - decay) * point.tokens))  # the last branch decays beyond it
    return None
