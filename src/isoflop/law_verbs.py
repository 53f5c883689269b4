"""What ``isoflop fit`` and ``isoflop optimum`` do; they load no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.core import codec
from isoflop.core.budget import Budget, Rates
from isoflop.core.errors import CorruptFileError, TableError
from isoflop.core.files import read_json, write_checked_json
from isoflop.core.products import LawReport, StackReport
from isoflop.law.fit import AUTO
from isoflop.law.fit import fit as fit_table
from isoflop.law.forms import FORMS, PARAMS, TOKENS, UNIQUE
from isoflop.law.optimum import diminishing, price_of_smaller
from isoflop.law.stack import Stack
from isoflop.law.table import LOSS, Table

SMALLER = 2.0
"""Times smaller than the best: the model whose price is told."""
GAIN = 0.01
"""A doubling of the FLOPs that lowers the loss by less is said to be past the point of diminishing returns."""


def parse_columns(text: str | None) -> dict[str, str]:
    """``params=N,tokens=D`` as a mapping; `TableError` where it is none."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    if any(not (name.strip() and theirs.strip()) for name, _, theirs in pairs):
        raise TableError(f"{text!r} names no columns", where="--columns", remedy="Write for example params=N,tokens=D")
    return {name.strip(): theirs.strip() for name, _, theirs in pairs}


def fit(
    points: Path,
    *,
    form: str,
    columns: str | None,
    bootstrap: int,
    predict: Path | None,
    out: Path | None,
    seed: int,
) -> dict[str, Any]:
    """Fits a law to a CSV file; what ``isoflop fit --json`` prints. Writes the law to ``out`` where that is given."""
    if form != AUTO and form not in FORMS:
        raise TableError(f"unknown form {form!r}", where="--form", remedy=f"Use auto or one of {', '.join(FORMS)}")
    names = parse_columns(columns)
    table = _read(points, names)
    asked = {ours: theirs for ours, theirs in names.items() if ours != LOSS}
    targets = _read(predict, asked, needs_loss=False) if predict else None
    law = fit_table(table, form=form, num_draws=bootstrap, seed=seed)
    if out:
        write_checked_json(out, codec.encode(law.report()))
    return answer(law) | ({"predictions": _predictions(law, targets)} if targets else {})


def answer(law: Stack) -> dict[str, Any]:
    """The best form's figures, and the stack's."""
    report = law.report()
    best = report.laws[0]
    assert best.certificate is not None
    return {
        "form": best.form,
        "parameters": best.parameters,
        "standard_errors": best.standard_errors,
        "intervals": _intervals(best),
        **codec.encode(best.certificate),
        "residual_sd": best.residual_sd,
        "unidentified": best.prior_dominated,
        "forms": [
            {"form": each.form, "weight": weight, "extrapolation_error": error}
            for each, weight, error in zip(report.laws, report.weights, report.extrapolation_errors, strict=True)
        ],
        "num_points": len(best.points),
        "warnings": codec.encode(report.warnings),
        "seconds": report.seconds,
    }


def optimum(
    path: Path,
    *,
    budget: str,
    flops_per_second: float | None,
    price_per_hour: float | None,
    watts: float | None,
    grams_per_kwh: float | None,
    unique_tokens: float,
    inference_tokens: float,
) -> dict[str, Any]:
    """The best size and length for a budget under a law that ``isoflop fit --out`` wrote."""
    law = load(path)
    parsed = Budget.parse(budget)
    rates = (flops_per_second, watts, price_per_hour, grams_per_kwh)
    flops = parsed.amount if parsed.unit == "FLOP" else _converted(parsed, *rates)
    best = law.optimum(flops, unique_tokens=unique_tokens, inference_tokens=inference_tokens)
    band = law.predict(best.params, best.tokens, unique_tokens)

    def loss(params: Any, tokens: Any) -> Any:
        return law.loss(params, tokens, unique_tokens)

    return {
        "flops": flops,
        "params": best.params,
        "tokens": best.tokens,
        "loss": float(band.central),
        "low": float(band.low),
        "high": float(band.high),
        "flops_of_half_the_size": price_of_smaller(loss, flops, SMALLER) * flops,
        "diminishing_from_flops": _finite(
            diminishing(loss, gain=GAIN, cheapest_flops=flops / 1e6, dearest_flops=flops * 1e9)
        ),
        "warnings": codec.encode(law.warnings_for(best.params, best.tokens, unique_tokens)),
    }


def load(path: Path) -> Stack:
    """A law that was written; `CorruptFileError` where the file is none."""
    try:
        return Stack.from_report(codec.decode(StackReport, read_json(path)))
    except FileNotFoundError:
        raise TableError(
            "no such file", where=str(path), remedy="Fit one: isoflop fit points.csv --out law.json"
        ) from None
    except ValueError as error:
        remedy = "Fit it again: isoflop fit points.csv --out law.json"
        raise CorruptFileError(f"not a law that isoflop fit wrote ({error})", where=str(path), remedy=remedy) from error


def _converted(
    budget: Budget,
    flops_per_second: float | None,
    watts: float | None,
    price_per_hour: float | None,
    grams_per_kwh: float | None,
) -> float:
    """FLOPs of a budget of another unit, at the rates given."""
    if flops_per_second is None:
        remedy = "Say what the machine trains at: --flops-per-second 4e14 (isoflop measure knows this one)"
        raise TableError(f"{budget} is no number of FLOPs", where="--budget", remedy=remedy)
    if watts is None and budget.unit in ("kWh", "gCO2e"):
        raise TableError(f"{budget} needs watts", where="--budget", remedy="Say what the machine draws: --watts 700")
    rates = Rates(flops_per_second, watts or 1.0, price_per_hour, grams_per_kwh)
    return budget.to_seconds(rates).seconds * flops_per_second


def _read(path: Path, names: dict[str, str], *, needs_loss: bool = True) -> Table:
    remedy = f"Give a CSV file of params, tokens{', loss' if needs_loss else ''}"
    try:
        return Table.read(path, names=names, needs_loss=needs_loss)
    except (FileNotFoundError, IsADirectoryError):
        raise TableError("no such file", where=str(path), remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise TableError("not UTF-8 text", where=f"{path}, byte {error.start}", remedy=remedy) from error


def _predictions(law: Stack, targets: Table) -> list[dict[str, Any]]:
    columns = targets.places()
    band = law.predict(columns[PARAMS], columns[TOKENS], columns[UNIQUE])
    return [
        {"params": params, "tokens": tokens, "loss": loss, "low": low, "high": high}
        for params, tokens, loss, low, high in np.column_stack(
            [columns[PARAMS], columns[TOKENS], band.central, band.low, band.high]
        ).tolist()
    ]


def _intervals(report: LawReport) -> dict[str, list[float | None]]:
    """95 % intervals of the parameters; None where a bound is no number."""
    draws = np.array(report.draws)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {name: [_finite(low[i]), _finite(high[i])] for i, name in enumerate(report.parameters)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
