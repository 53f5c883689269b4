"""The scaling-law engine on published runs: time of a fit, and error at predicting costlier runs (docs/log.md).

    python benchmarks/law.py times
    python benchmarks/law.py extrapolation --out /tmp/law

``extrapolation`` fits the cheapest 70 % of every table's runs by FLOPs and predicts the rest: mean absolute relative
error of each form and of the stack, over all of them and over those near the frontier. ``alone`` is the best of the
forms as ``isoflop fit --form`` fits them (Hoffmann's cost, every run alike), chosen knowing the answers; ``hindsight``
the same with the rest among the runs that are fitted: less than that no such form can promise. The bar: median of the
stack at most .9 %, and no table worse than 1.5 times its best single form. A minute.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from corpora import save, stamp
from isoflop.law.belief import nearly_best
from isoflop.law.choose import best_by_form, predicted, relative_error, scores, weights
from isoflop.law.fit import suitable
from isoflop.law.forms import FORMS, form_of
from isoflop.law.resample import resampled
from isoflop.law.search import best_fit
from isoflop.law.table import Table
from scaling_sets import all_sets, epoch

KNOWN_SHARE = 0.7
MOST_TIMES = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["times", "extrapolation"])
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = times() if arguments.what == "times" else extrapolation()
    save(arguments.out / f"law-{arguments.what}.json", stamp() | result)


def times() -> dict[str, Any]:
    """Median seconds of seven fits of 240 runs, and of three bootstraps of 4,000 resamples."""
    table, form = epoch(), form_of("chinchilla")
    fits = [_timed(lambda: best_fit(table, form)) for _ in range(7)]
    found = best_fit(table, form)
    bootstraps = [_timed(lambda seed=seed: resampled(table, found, num_draws=4000, seed=seed)) for seed in range(3)]
    return {"fit_seconds": float(np.median(fits)), "bootstrap_seconds": float(np.median(bootstraps))}


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def extrapolation() -> dict[str, Any]:
    """Every table's errors on all its later runs and on those near the frontier, their medians and worst ratios."""
    rows: dict[str, list[dict[str, Any]]] = {"all": [], "near": []}
    for name, table in all_sets().items():
        for asked, found in errors(table).items():
            rows[asked].append({"set": name, "runs": len(table)} | found)
            told = (f"{k}={v:.3%}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[asked][-1].items())
            print(asked, *told, flush=True)
    return {asked: _summary(each) for asked, each in rows.items()}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians by form, and the stack's ratios to a table's best form: as the stack fits it, and alone."""
    forms = [key for key in rows[0] if key not in ("set", "runs", "asked")]
    medians = {form: float(np.median([row[form] for row in rows if form in row])) for form in forms}
    to_best = [row["stack"] / min(value for form, value in row.items() if form in FORMS) for row in rows]
    to_alone = [row["stack"] / row["alone"] for row in rows]
    told = {"medians": medians, "ratios_to_best_form": _highest(to_best), "ratios_to_best_alone": _highest(to_alone)}
    print(told, flush=True)
    return told | {"rows": rows}


def _highest(ratios: list[float]) -> dict[str, float]:
    return {"worst": max(ratios), "above_1.5": sum(ratio > MOST_TIMES for ratio in ratios), "of": len(ratios)}


def errors(table: Table) -> dict[str, dict[str, Any]]:
    """Error on the costliest 30 % by form, under the belief by which it extrapolates best, and the stack's of all."""
    order = np.argsort(table.cost, kind="stable")
    known, rest = np.split(order, [int(KNOWN_SHARE * len(table))])
    scored = scores(table.take(known), suitable(table.take(known)), near=True)
    forecasts = [predicted(score.candidate.fit(table.take(known)), table.take(rest)) for score in scored]
    best = {score.candidate.form.name: forecasts[scored.index(score)] for score in best_by_form(scored)}
    best["stack"] = np.exp(weights(scored) @ np.log(forecasts))
    forms = {score.candidate.form.name: score.candidate.form for score in scored}.values()
    alone = {
        "alone": [predicted(best_fit(table.take(known), form), table.take(rest)) for form in forms],
        "hindsight": [predicted(best_fit(table, form), table.take(rest)) for form in forms],
    }
    found = {}
    for asked, among in (("all", np.ones(len(rest), dtype=bool)), ("near", nearly_best(table)[rest])):
        losses = table.loss[rest][among]
        by_form = {name: relative_error(forecast[among], losses) for name, forecast in best.items()}
        of_best = {
            name: min(relative_error(forecast[among], losses) for forecast in some) for name, some in alone.items()
        }
        found[asked] = {"asked": int(among.sum())} | by_form | of_best
    return found


if __name__ == "__main__":
    main()
