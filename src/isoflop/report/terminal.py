"""The study in one terminal screen, and as the one JSON object of ``isoflop run --json``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoflop.report import view
from isoflop.report.numbers import duration, percent, signed_percent, told
from isoflop.report.story import diminishing_returns, headline_sentence
from isoflop.report.view import Comparison, Study

WIDTH, HEIGHT = 100, 24
_MODEL_FOLDER = "model"


def summary(study_dir: Path) -> str:
    """At most `HEIGHT` lines of `WIDTH` columns: the outcome, predicted | happened, what more would buy, warnings.

    Raises `StudyError` where the folder is no study, `CorruptFileError` for a file that is not what isoflop wrote.
    """
    study = view.load(study_dir)
    lines = [*textwrap.wrap(headline_sentence(study), WIDTH), "", *_comparison_lines(view.comparisons(study))]
    lines += ["", *_ledger_lines(study)]
    if study.plan and study.budget_seconds:
        lines += textwrap.wrap(diminishing_returns(view.purchases(study.plan, study.budget_seconds)), WIDTH)
    places = _place_lines(study_dir)
    lines += _warning_lines(study, room=HEIGHT - len(lines) - len(places))
    return "\n".join(lines + places)


def _comparison_lines(rows: list[Comparison]) -> Iterator[str]:
    if not rows:
        return
    yield f"{'':30}{'predicted':>10}  {'90 % interval':<22}{'happened':>10}"
    for row in rows:
        predicted, happened = row.predicted, row.happened
        wide = predicted is not None and predicted.low < predicted.high
        interval = f"[{told(predicted.low, row.unit)}, {told(predicted.high, row.unit)}]" if predicted and wide else ""
        verdict = {True: "inside", False: "OUTSIDE", None: ""}[row.inside]
        error = signed_percent(row.error) if row.error is not None else ""
        left = f"{f'{row.quantity}, {row.unit}':30}{told(predicted.central, row.unit) if predicted else '–':>10}"
        outcome = told(happened.central, row.unit) if happened else "not yet"
        yield f"{left}  {interval:<22}{outcome:>10}{error:>10}  {verdict}".rstrip()


def _ledger_lines(study: Study) -> Iterator[str]:
    """The stages' shares of the budget, in the order they ran."""
    rows = view.ledger(study.records)
    if not rows:
        return
    whole = study.budget_seconds or view.spent_seconds(rows)
    stages = dict.fromkeys(row.stage for row in rows)
    told = [f"{stage} {percent(view.spent_seconds(rows, [stage]) / whole, 0)}" for stage in stages]
    yield from textwrap.wrap(f"{duration(view.spent_seconds(rows))} of {duration(whole)}: {', '.join(told)}", WIDTH)


def _warning_lines(study: Study, *, room: int) -> list[str]:
    """Each warning on one line as far as there is room; the rest is counted."""
    found = view.warnings(study)
    lines = [textwrap.shorten(f"! {warning.code}: {warning.message}", WIDTH, placeholder=" …") for warning in found]
    if len(lines) <= room:
        return lines
    num_told = max(room - 1, 0)
    return [*lines[:num_told], f"! {len(lines) - num_told} more in the report"]


def _place_lines(study_dir: Path) -> list[str]:
    places = {"model": study_dir / _MODEL_FOLDER, "report": study_dir / view.REPORT_FILE}
    return [f"{name:7} {path}" for name, path in places.items() if path.exists()]


def facts(study_dir: Path) -> dict[str, Any]:
    """The study as one flat JSON object; what is not known yet is None.

    ``pilot_fraction`` is the share of the budget that pilots, law and plan took; ``num_parameters`` counts all.
    Raises as `summary`.
    """
    study = view.load(study_dir)
    rows = view.ledger(study.records)
    planning = view.spent_seconds(rows, view.PLANNING_STAGES)
    return {
        "sources": study.manifest.sources if study.manifest else None,
        "is_demo": study.manifest.is_demo if study.manifest else None,
        **_quality(study),
        **_costs(study),
        "seconds": view.spent_seconds(rows),
        "budget_seconds": study.budget_seconds,
        "budget_conversion": study.given.get("budget_conversion"),
        "pilot_fraction": planning / study.budget_seconds if study.budget_seconds else None,
        "num_parameters": study.plan.num_parameters.all if study.plan else None,
        "tokens": view.tokens(study),
        "epochs": study.plan.epochs if study.plan else None,
        "model_dir": str(study_dir / _MODEL_FOLDER),
        "report": str(study_dir / view.REPORT_FILE),
        "warnings": [{"code": warning.code, "message": warning.message} for warning in view.warnings(study)],
    }


def _quality(study: Study) -> dict[str, float | None]:
    score = study.scored
    promise = study.plan.forecast.bits_per_byte if study.plan else None
    return {
        "test_bits_per_byte": score.bits_per_byte if score else None,
        "predicted_bits_per_byte": promise.central if promise else None,
        "predicted_low": promise.low if promise else None,
        "predicted_high": promise.high if promise else None,
        "xz_bits_per_byte": score.xz_bits_per_byte if score else None,
        "unigram_bits_per_byte": score.unigram_bits_per_byte if score else None,
    }


def _costs(study: Study) -> dict[str, float | None]:
    joules, dollars, grams = view.happened_costs(study)
    promise = study.plan.forecast.joules if study.plan else None
    return {
        "joules": joules.central if joules else None,
        "predicted_joules": promise.central if promise else None,
        "predicted_joules_low": promise.low if promise else None,
        "predicted_joules_high": promise.high if promise else None,
        "dollars": dollars.central if dollars else None,
        "grams_co2e": grams.central if grams else None,
        "predicted_seconds": study.plan.forecast.seconds.central if study.plan else None,
    }
