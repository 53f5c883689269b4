"""What the command line's verbs do; imported only by the verb that is called."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isoflop.core import codec
from isoflop.core.budget import Budget, Rates, format_seconds
from isoflop.core.errors import BudgetError, IsoflopError, StudyError, TextError
from isoflop.core.files import disk_errors
from isoflop.core.process import interruptible
from isoflop.core.products import FORMAT_VERSION, USUAL_METHOD, Interval, Method
from isoflop.machine.grid import grams_per_kwh
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import measure
from isoflop.machine.throughput import gain_together
from isoflop.model.generate import generate as continue_ids
from isoflop.plan.planner import (
    TIME_SD,
    Z90,
    best,
    consider,
    copying_expected,
    forecast_joules,
    unused_time,
    what_if,
)
from isoflop.plan.shapes import ladder
from isoflop.run import carry_out, require_places, train_here, train_in_ranks
from isoflop.stages.division import require_budget
from isoflop.stages.machine import rates_of
from isoflop.stages.plan import expected_closing, measured_speedup, question_of
from isoflop.study import Given, Study, command_line
from isoflop.text import prepare as text
from isoflop.text.collect.sources import absolute, display, find
from isoflop.text.tokenizer import read_tokenizer
from isoflop.train.layout import Layout, planned_layout, require_layout


def start(
    texts: list[str],
    *,
    budget: str,
    out: Path,
    tokenizer: Path | None,
    price_per_hour: float | None,
    grid: str,
    seed: int,
    method: Method = USUAL_METHOD,
    ranks: int = 1,
    quiet: bool,
) -> Path:
    """Makes a study folder and carries the study out. What is wrong is told before anything is written."""
    parsed, factor = Budget.parse(budget), grams_per_kwh(grid)
    _require_price(price_per_hour)
    require_places(ranks)
    parsed.to_seconds(Rates(1.0, 1.0, price_per_hour, factor.grams_co2e_per_kwh))  # refuses a rate that is missing
    if parsed.unit == "s":
        require_budget(parsed.amount)
    study = Study(out)
    if study.exists:
        _refuse(study, texts)
    for path in (*texts, str(out)):
        _require_utf8(path)
    if texts:
        find(texts)
    if tokenizer is not None:
        read_tokenizer(tokenizer)
    _make_empty_folder(out)
    study.give(
        Given(
            format_version=FORMAT_VERSION,
            command=command_line(),
            inputs=[absolute(text) for text in texts],
            budget=str(parsed),
            seed=seed,
            grid=factor.code,
            grams_co2e_per_kwh=factor.grams_co2e_per_kwh,
            price_per_hour=price_per_hour,
            tokenizer=None if tokenizer is None else absolute(tokenizer),
            method=method,
            ranks=ranks,
            budget_seconds=parsed.amount if parsed.unit == "s" else None,
            budget_conversion=format_seconds(parsed.amount) if parsed.unit == "s" else None,
        )
    )
    try:
        _carry_out(study, quiet=quiet)
    except (TextError, BudgetError):
        if not study.has("machine.json"):
            shutil.rmtree(out, ignore_errors=True)  # refused before the study was under way: nothing to go on with
        raise
    return out


def _require_price(price_per_hour: float | None) -> None:
    if price_per_hour is not None and not (price_per_hour > 0 and math.isfinite(price_per_hour)):
        raise BudgetError(
            f"{price_per_hour:g} dollars an hour is no price", where="--price-per-hour", remedy="Give it above zero"
        )


def _require_utf8(path: str) -> None:
    """study.toml notes the paths that were given, and is UTF-8; names inside a folder may be anything."""
    try:
        absolute(path).encode()
    except UnicodeEncodeError as error:
        remedy = "Rename it, or give a folder above it by another name"
        raise TextError(
            "the path is not UTF-8, so the study could not name it", where=display(path), remedy=remedy
        ) from error


def _make_empty_folder(out: Path) -> None:
    """Makes ``out``; what lies there already is not ours to mix with a study or to clear, least of all the text."""
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise StudyError(
                "the folder is not empty and holds no study", where=str(out), remedy="Choose another --out"
            )


def _refuse(study: Study, texts: list[str]) -> None:
    given = study.given
    same = given.inputs == [absolute(text) for text in texts]
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
    with interruptible(f"Go on with: isoflop resume {study.folder}"):
        carry_out(study, command=command_line(), quiet=quiet)


def train(folder: Path, *, num_ranks: int, max_restarts: int, quiet: bool, layout: Layout | None) -> dict[str, Any]:
    """The target run of a planned study, alone or in several processes, in the planned layout unless one is given; what
    follows it is `resume`'s.

    As torchrun and our own supervisor start it, a process is one of several. Raises `Interrupted` where it was asked to
    stop, `StudyError` where the study has no plan or attempt after attempt failed.
    """
    study, restarts = Study(folder), 0
    _, planned = study.given, study.plan  # refuses what is no study, or is not planned yet
    size = num_ranks if num_ranks > 1 else int(os.environ.get("WORLD_SIZE", "1"))
    layout = layout or planned_layout(planned, size=size)
    require_layout(planned, layout, size=size)
    if num_ranks > 1:
        restarts = train_in_ranks(study, size=num_ranks, max_restarts=max_restarts, quiet=quiet, layout=layout)
    else:
        with interruptible(f"Go on with: isoflop resume {folder}"):
            train_here(study, command=command_line(), quiet=quiet, layout=layout)
    return {"study": str(folder), "ranks": num_ranks, "restarts": restarts}


def plan(folder: Path, budget: str, *, price_per_hour: float | None, grid: str | None) -> dict[str, Any]:
    """What another budget would buy on this study's text and machine; price and grid are the study's unless given."""
    study = Study(folder)
    given, question = _repriced(study.given, price_per_hour, grid), question_of(study)
    answer = Budget.parse(budget).to_seconds(rates_of(study.machine, given)).seconds
    require_budget(answer)
    training = max(0.5 * answer, answer - _overhead(study))
    speedup = measured_speedup(study) if study.has("plan.json") else gain_together(question.machine)
    choices = consider(question, seconds=training, speedup=speedup)
    choice = best(choices)
    chosen = choice.candidate
    further = what_if(question, budget_seconds=answer, training_seconds=training, speedup=speedup)
    used = answer - (1 - choice.share_of_time) * training
    return {
        "budget": budget,
        "budget_seconds": answer,
        "training_seconds": training * choice.share_of_time,
        "chosen": codec.encode(chosen),
        "candidates": codec.encode([choice.candidate for choice in choices]),
        "what_if": codec.encode(further),
        **codec.encode(_costs(forecast_joules(question.machine, used), used, given)),
        "warnings": codec.encode(
            question.law.warnings_for(chosen.num_parameters.matmul, chosen.tokens, question.manifest.train.num_tokens)
            + unused_time(1 - choice.share_of_time, chosen.epochs)
            + copying_expected(question.copying, chosen.tokens)
        ),
    }


def _repriced(given: Given, price_per_hour: float | None, grid: str | None) -> Given:
    """``given`` with another price of the machine or another electricity, where there is one."""
    _require_price(price_per_hour)
    if price_per_hour is not None:
        given = replace(given, price_per_hour=price_per_hour)
    if grid is not None:
        factor = grams_per_kwh(grid)
        given = replace(given, grid=factor.code, grams_co2e_per_kwh=factor.grams_co2e_per_kwh)
    return given


def _overhead(study: Study) -> float:
    """Seconds of the study's budget that do not train."""
    if not study.has("plan.json"):
        return expected_closing(study)
    return study.plan.forecast.seconds.central - study.plan.training_seconds


def _costs(joules: Interval, seconds: float, given: Given) -> dict[str, Interval | None]:
    """What ``seconds`` of work take and cost, with 90 % intervals; no dollars where nobody named a price."""
    spread, kwh = Z90 * TIME_SD * seconds, joules.scaled(1 / 3.6e6)
    wall = Interval(seconds, seconds - spread, seconds + spread)
    price = given.price_per_hour
    return {
        "seconds": wall,
        "kwh": kwh,
        "grams_co2e": kwh.scaled(given.grams_co2e_per_kwh),
        "dollars": None if price is None else wall.scaled(price / 3600),
    }


def generate(folder: Path, prompt: str, *, max_new_tokens: int, temperature: float, top_k: int, seed: int) -> str:
    """The text that the study's model puts after ``prompt``."""
    from isoflop.model.export import load_model

    if not math.isfinite(temperature):
        raise IsoflopError(
            f"{temperature:g} is no temperature", where="--temperature", remedy="Give a number such as 0.8"
        )
    study = Study(folder)
    _ = study.given  # refuses what is no study
    if not study.has("model/config.json"):
        raise StudyError(
            "no model here yet", where=str(folder), remedy=f"Finish the study first: isoflop resume {folder}"
        )
    manifest = study.manifest
    tokenizer = text.open_tokenizer(study.corpus, manifest)
    new = continue_ids(
        load_model(study.model),
        [manifest.end_of_text_id, *tokenizer.encode(prompt, add_special_tokens=False).ids],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_id=manifest.end_of_text_id,
    )
    return str(tokenizer.decode(new))


def measure_machine() -> dict[str, Any]:
    """machine.json's content for this machine, as JSON values."""
    torch.set_num_threads(usable_cores())
    shapes = ladder(4096, 256)
    machine = measure([shapes[0], shapes[2], shapes[5]], seconds=8.0, side_by_side=None)
    return dict(codec.encode(machine))
