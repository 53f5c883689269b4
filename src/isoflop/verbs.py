"""What the command line's verbs do; imported only by the verb that is called."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch

from isoflop.core import codec
from isoflop.core.budget import Budget, Rates, format_seconds
from isoflop.core.errors import BudgetError, StudyError, TextError
from isoflop.core.files import disk_errors
from isoflop.core.products import FORMAT_VERSION
from isoflop.machine.grid import grams_per_kwh
from isoflop.machine.measure import measure, usable_cores
from isoflop.model.generate import generate as continue_ids
from isoflop.plan.planner import best, consider, what_if
from isoflop.plan.shapes import ladder
from isoflop.run import carry_out
from isoflop.stages.machine import rates_of, require_budget
from isoflop.stages.plan import measured_speedup, question_of
from isoflop.stages.setting import closing_seconds
from isoflop.study import Given, Study, command_line
from isoflop.text import prepare as text
from isoflop.text.read import find_files
from isoflop.text.tokenizer import END_OF_TEXT_ID
from isoflop.train.stop import Interrupted


def start(
    texts: list[Path], *, budget: str, out: Path, price_per_hour: float | None, grid: str, seed: int, quiet: bool
) -> Path:
    """Makes a study folder and carries the study out. What is wrong is told before anything is written."""
    parsed, factor = Budget.parse(budget), grams_per_kwh(grid)
    if price_per_hour is not None and not (price_per_hour > 0 and math.isfinite(price_per_hour)):
        raise BudgetError(
            f"{price_per_hour:g} dollars an hour is no price", where="--price-per-hour", remedy="Give it above zero"
        )
    parsed.to_seconds(Rates(1.0, 1.0, price_per_hour, factor.grams_co2e_per_kwh))  # refuses a rate that is missing
    if parsed.unit == "s":
        require_budget(parsed.amount)
    study = Study(out)
    if study.exists:
        _refuse(study, texts)
    if texts:
        find_files(texts)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        was_empty = not any(out.iterdir())
    study.give(
        Given(
            format_version=FORMAT_VERSION,
            command=command_line(),
            inputs=[str(path.absolute()) for path in texts],
            budget=str(parsed),
            seed=seed,
            grid=factor.code,
            grams_co2e_per_kwh=factor.grams_co2e_per_kwh,
            price_per_hour=price_per_hour,
            budget_seconds=parsed.amount if parsed.unit == "s" else None,
            budget_conversion=format_seconds(parsed.amount) if parsed.unit == "s" else None,
        )
    )
    try:
        _carry_out(study, quiet=quiet)
    except (TextError, BudgetError):
        if was_empty and not study.has("machine.json"):
            shutil.rmtree(out, ignore_errors=True)  # refused before the study was under way: nothing to go on with
        raise
    return out


def _refuse(study: Study, texts: list[Path]) -> None:
    given = study.given
    same = given.inputs == [str(path.absolute()) for path in texts]
    whose = "a study of this text" if same else f"a study of another text ({', '.join(given.inputs) or 'the demo'})"
    raise StudyError(
        f"{whose} is already here",
        where=str(study.folder),
        remedy=f"Go on with it: isoflop resume {study.folder}. Or choose another --out",
    )


def resume(folder: Path, *, quiet: bool) -> None:
    """Carries on with a study where it stopped."""
    study = Study(folder)
    _ = study.given  # refuses what is no study
    _carry_out(study, quiet=quiet)


def _carry_out(study: Study, *, quiet: bool) -> None:
    try:
        carry_out(study, command=command_line(), quiet=quiet)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; what was finished is kept", remedy=f"Go on with: isoflop resume {study.folder}"
        ) from None


def plan(folder: Path, budget: str) -> dict[str, Any]:
    """What another budget would buy on this study's text and machine."""
    study = Study(folder)
    given, question = study.given, question_of(study)
    answer = Budget.parse(budget).to_seconds(rates_of(study.machine, given)).seconds
    require_budget(answer)
    overhead = study.budget_seconds - study.plan.training_seconds if study.has("plan.json") else closing_seconds(study)
    training = max(0.5 * answer, answer - overhead)
    speedup = measured_speedup(study) if study.has("plan.json") else 1.0
    choices = consider(question, seconds=training, speedup=speedup)
    chosen = best(choices).candidate
    further = what_if(question, budget_seconds=answer, training_seconds=training, speedup=speedup)
    return {
        "budget": budget,
        "budget_seconds": answer,
        "training_seconds": training,
        "chosen": codec.encode(chosen),
        "candidates": codec.encode([choice.candidate for choice in choices]),
        "what_if": codec.encode(further),
        "dollars": None if given.price_per_hour is None else answer / 3600 * given.price_per_hour,
        "warnings": codec.encode(
            question.law.warnings_for(chosen.num_parameters.matmul, chosen.tokens, question.manifest.train.num_tokens)
        ),
    }


def generate(folder: Path, prompt: str, *, max_new_tokens: int, temperature: float, top_k: int, seed: int) -> str:
    """The text that the study's model puts after ``prompt``."""
    from isoflop.model.export import load_model

    study = Study(folder)
    _ = study.given  # refuses what is no study
    if not study.has("model/config.json"):
        raise StudyError("no model here yet", where=str(folder), remedy="Finish the study first: isoflop resume")
    tokenizer = text.open_tokenizer(study.corpus, study.manifest)
    new = continue_ids(
        load_model(study.model),
        [END_OF_TEXT_ID, *tokenizer.encode(prompt).ids],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_id=END_OF_TEXT_ID,
    )
    return str(tokenizer.decode(new))


def measure_machine() -> dict[str, Any]:
    """machine.json's content for this machine, as JSON values."""
    torch.set_num_threads(usable_cores())
    shapes = ladder(4096, 256)
    machine = measure([shapes[0], shapes[2], shapes[5]], seconds=8.0, side_by_side=None)
    return dict(codec.encode(machine))
