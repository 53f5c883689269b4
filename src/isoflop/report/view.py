"""The study folder as the report sees it: decoded files, and the pure functions that turn records into facts."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from isoflop.core import codec
from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.files import read_json
from isoflop.core.journal import Stamped, read_records
from isoflop.core.ledger import by_stage
from isoflop.core.products import CorpusManifest, Interval, LawReport, Machine, Plan, StudyWarning
from isoflop.core.records import Evaluation, Monitor, Record, RolledBack, RunStarted, Scored, Step, Warned

REPORT_FILE = "report.html"
JOULES_PER_KWH = 3.6e6
PLANNING_STAGES = ("pilots", "law", "plan")
"""The stages whose time is the price of knowing what to train."""

P = TypeVar("P")
R = TypeVar("R", bound=Record)
RunRecord = TypeVar("RunRecord", Step, Evaluation)


@dataclass(frozen=True)
class Study:
    """What the folder holds so far; a product that its stage has not left yet is None."""

    folder: Path
    given: dict[str, Any]
    decided: dict[str, Any]
    manifest: CorpusManifest | None
    machine: Machine | None
    law: LawReport | None
    plan: Plan | None
    records: list[Stamped]

    def all(self, kind: type[R]) -> list[R]:
        """Every record of one kind, in order."""
        return [stamped.record for stamped in self.records if isinstance(stamped.record, kind)]

    def last(self, kind: type[R]) -> R | None:
        return next(iter(self.all(kind)[::-1]), None)

    def of_run(self, kind: type[RunRecord], run: str) -> list[RunRecord]:
        """Steps or evaluations of one run; what was trained again, after a resume or because steps were taken back, is
        told once, as it went the last time."""
        kept: list[RunRecord] = []
        for stamped in self.records:
            record = stamped.record
            if isinstance(record, (RunStarted, RolledBack)) and record.run == run:
                start = record.from_step if isinstance(record, RunStarted) else record.to_step
                kept = [earlier for earlier in kept if earlier.step <= start]
            elif isinstance(record, kind) and record.run == run:
                kept.append(record)
        return kept

    @property
    def target(self) -> RunStarted | None:
        """The run that became the model, as last started."""
        return next((run for run in self.all(RunStarted)[::-1] if run.role == "target"), None)

    @property
    def budget(self) -> str:
        return str(self.given.get("budget", "the budget"))

    @property
    def budget_seconds(self) -> float | None:
        seconds = self.given.get("budget_seconds")
        return None if seconds is None else float(seconds)

    @property
    def scored(self) -> Scored | None:
        return self.last(Scored)

    @property
    def test_bits(self) -> float | None:
        """Measured bits per byte on the test documents."""
        return self.scored.bits_per_byte if self.scored else None


def load(folder: Path) -> Study:
    """Reads a study folder, finished or not.

    Raises `StudyError` where ``folder`` is no study, `CorruptFileError` for a file that is not what isoflop wrote.
    """
    choices = _read_toml(folder / "study.toml")
    return Study(
        folder=folder,
        given=choices.get("given", {}),
        decided=choices.get("decided", {}),
        manifest=_product(CorpusManifest, folder / "corpus" / "manifest.json"),
        machine=_product(Machine, folder / "machine.json"),
        law=_product(LawReport, folder / "law.json"),
        plan=_product(Plan, folder / "plan.json"),
        records=list(read_records(folder / "records.jsonl")),
    )


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StudyError("not a study folder (no study.toml)", where=str(path.parent), remedy="Name a study's folder")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"not valid TOML ({error})", where=str(path), remedy="Restore the file") from error


def _product(kind: type[P], path: Path) -> P | None:
    if not path.is_file():
        return None
    try:
        product: P = codec.decode(kind, read_json(path), where=path.name)
        return product
    except ValueError as error:
        raise CorruptFileError(str(error), where=str(path), remedy="Delete it, then resume") from error


@dataclass(frozen=True)
class LedgerRow:
    stage: str
    activity: str
    seconds: float


def ledger(records: Sequence[Stamped]) -> list[LedgerRow]:
    """Seconds by stage and activity, stages and activities in order of first appearance; sums to the time used."""
    booked = by_stage(records)
    stages = dict.fromkeys(stage for stage, _ in booked)
    return [LedgerRow(*key, seconds) for stage in stages for key, seconds in booked.items() if key[0] == stage]


def spent_seconds(rows: Sequence[LedgerRow], stages: Sequence[str] | None = None) -> float:
    """Seconds of the whole ledger, or of some stages."""
    return math.fsum(row.seconds for row in rows if stages is None or row.stage in stages)


def energy(samples: Sequence[Monitor]) -> Interval | None:
    """Joules drawn, summed over the samples; the bounds add up because the error of a power model is shared by all."""
    if not samples:
        return None
    return Interval(
        central=math.fsum(sample.joules_central for sample in samples),
        low=math.fsum(sample.joules_low for sample in samples),
        high=math.fsum(sample.joules_high for sample in samples),
    )


@dataclass(frozen=True)
class Comparison:
    """One quantity, predicted | happened, both in ``unit``; a bare number is an interval without width."""

    quantity: str
    unit: str
    predicted: Interval | None
    happened: Interval | None

    @property
    def inside(self) -> bool | None:
        """Whether what happened lies in the predicted interval; None where there is nothing to judge."""
        if self.predicted is None or self.happened is None or self.predicted.low == self.predicted.high:
            return None
        return self.predicted.contains(self.happened.central)

    @property
    def error(self) -> float | None:
        """Happened over predicted, minus one."""
        if self.predicted is None or self.happened is None or not self.predicted.central:
            return None
        return self.happened.central / self.predicted.central - 1


def exact(value: float | None, *, unit: float = 1.0) -> Interval | None:
    """A number without an interval, told in ``unit``."""
    return None if value is None else Interval(value / unit, value / unit, value / unit)


UNITS = {
    "Test loss": "bits/byte",
    "Validation loss": "nats/token",
    "Time": "s",
    "Tokens trained on": "million",
    "Training FLOPs": "TFLOP",
    "Training speed": "k tokens/s",
    "Peak memory": "GB",
    "Energy": "kWh",
    "Emissions": "g CO2e",
    "Cost": "$",
}
"""The compared quantities in the reader's order, each with the unit it is told in."""


def comparisons(study: Study) -> list[Comparison]:
    """Every quantity that was forecast or measured, in the order of `UNITS`; a side not known yet is None."""
    predicted, happened = _predicted(study.plan), _happened(study)
    rows = [Comparison(name, unit, predicted.get(name), happened.get(name)) for name, unit in UNITS.items()]
    return [row for row in rows if row.predicted or row.happened]


def _predicted(plan: Plan | None) -> dict[str, Interval | None]:
    if plan is None:
        return {}
    forecast = plan.forecast
    return {
        "Test loss": forecast.bits_per_byte,
        "Validation loss": forecast.loss,
        "Time": forecast.seconds,
        "Tokens trained on": exact(plan.tokens / 1e6),
        "Training FLOPs": exact(plan.flops / 1e12),
        "Training speed": exact(plan.tokens_per_second / 1e3),
        "Peak memory": exact(plan.memory_bytes / 1e9),
        "Energy": forecast.joules.scaled(1 / JOULES_PER_KWH),
        "Emissions": forecast.grams_co2e,
        "Cost": forecast.dollars,
    }


def _happened(study: Study) -> dict[str, Interval | None]:
    joules, dollars, grams = happened_costs(study)
    score = study.scored
    return {
        "Test loss": Interval(score.bits_per_byte, score.bits_per_byte_low, score.bits_per_byte_high)
        if score
        else None,
        "Validation loss": exact(final_loss(study)),
        "Time": exact(_seconds(study)),
        "Tokens trained on": exact(tokens(study), unit=1e6),
        "Training FLOPs": exact(flops(study), unit=1e12),
        "Training speed": exact(speed(study), unit=1e3),
        "Peak memory": exact(peak_memory(study), unit=1e9),
        "Energy": joules.scaled(1 / JOULES_PER_KWH) if joules else None,
        "Emissions": grams,
        "Cost": dollars,
    }


def _seconds(study: Study) -> float | None:
    return spent_seconds(ledger(study.records)) or None


def happened_costs(study: Study) -> tuple[Interval | None, Interval | None, Interval | None]:
    """Joules, dollars and grams of CO2e so far; dollars only with a price, grams only with a grid factor."""
    joules, seconds = energy(study.all(Monitor)), _seconds(study)
    price, factor = study.given.get("price_per_hour"), study.given.get("grams_co2e_per_kwh")
    dollars = None if price is None or seconds is None else exact(price * seconds / 3600)
    grams = None if factor is None or joules is None else joules.scaled(factor / JOULES_PER_KWH)
    return joules, dollars, grams


def tokens(study: Study) -> int | None:
    """Tokens the model was trained on so far; also those behind which better weights were kept (``best_restored``)."""
    steps = target_records(study, Step)
    return steps[-1].tokens if steps else None


def flops(study: Study) -> float | None:
    """FLOPs of those tokens, at what the records say a token costs."""
    steps = target_records(study, Step)
    return steps[-1].tokens * steps[-1].flops_per_second / steps[-1].tokens_per_second if steps else None


def speed(study: Study) -> float | None:
    """Median tokens/s of the target run's step records."""
    rates = sorted(step.tokens_per_second for step in target_records(study, Step))
    return rates[len(rates) // 2] if rates else None


def peak_memory(study: Study) -> int | None:
    """Highest sampled resident memory of the process tree, in bytes; while training the target where known."""
    samples = study.all(Monitor)
    training = [sample for sample in samples if sample.stage == "train"] or samples
    return max((sample.memory_bytes for sample in training), default=None)


def final_loss(study: Study) -> float | None:
    """The target's last validation loss, nats per token."""
    evaluations = validation(study)
    return evaluations[-1].loss if evaluations else None


def target_records(study: Study, kind: type[RunRecord]) -> list[RunRecord]:
    return study.of_run(kind, study.target.run) if study.target else []


def validation(study: Study) -> list[Evaluation]:
    return [record for record in target_records(study, Evaluation) if record.split == "val"]


def warnings(study: Study) -> list[StudyWarning]:
    """All warnings of products and records, each once, in the order of the stages."""
    products = (study.manifest, study.machine, study.law, study.plan)
    found = [warning for product in products if product for warning in product.warnings]
    found += [StudyWarning(record.code, record.message) for record in study.all(Warned)]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Purchase:
    """What ``factor`` times the budget buys."""

    factor: float
    seconds: float
    num_parameters: float
    tokens: float
    epochs: float
    bits_per_byte: Interval


def purchases(plan: Plan, budget_seconds: float) -> list[Purchase]:
    """This budget and the others the plan looked at, smallest first."""
    here = Purchase(
        1.0, budget_seconds, plan.num_parameters.matmul, plan.tokens, plan.epochs, plan.forecast.bits_per_byte
    )
    others = [
        Purchase(
            factor=what.budget_seconds / budget_seconds,
            seconds=what.budget_seconds,
            num_parameters=what.num_parameters,
            tokens=what.tokens,
            epochs=what.epochs,
            bits_per_byte=what.bits_per_byte,
        )
        for what in plan.what_if
        if abs(what.budget_seconds / budget_seconds - 1) > 0.01
    ]
    return sorted([here, *others], key=lambda purchase: purchase.seconds)
