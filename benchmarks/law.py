"""The scaling-law engine on published runs: time of a fit, and error at predicting costlier runs (docs/log.md).

    python benchmarks/law.py times
    python benchmarks/law.py extrapolation --out /tmp/law

``extrapolation`` fits the cheapest 70 % of every table's runs by FLOPs and predicts the rest: mean absolute relative
error of each form and of the stack. The bar: median of the stack at most .9 %, and no table worse than 1.5 times its
best single form. A minute.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from corpora import save, stamp
from isoflop.law.choose import predicted, relative_error, scores, weights
from isoflop.law.fit import suitable
from isoflop.law.forms import form_of
from isoflop.law.resample import resampled
from isoflop.law.search import best_fit
from isoflop.law.table import Table
from scaling_sets import all_sets, epoch

KNOWN_SHARE = 0.7


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
    rows = []
    for name, table in all_sets().items():
        order = np.argsort(table.cost, kind="stable")
        known, rest = np.split(order, [int(KNOWN_SHARE * len(table))])
        rows.append({"set": name, "runs": len(table)} | errors(table.take(known), table.take(rest)))
        print(" ".join(f"{k}={v:.3%}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    forms = [key for key in rows[0] if key not in ("set", "runs")]
    medians = {form: float(np.median([row[form] for row in rows if form in row])) for form in forms}
    ratios = [row["stack"] / min(row[form] for form in row if form not in ("set", "runs", "stack")) for row in rows]
    return {"medians": medians, "worst_ratio_to_best_form": max(ratios), "rows": rows}


def errors(known: Table, rest: Table) -> dict[str, float]:
    """Error on the rest by form, and the stack's."""
    forms = suitable(known)
    forecasts = {form.name: predicted(best_fit(known, form), rest) for form in forms}
    shares = weights(scores(known, forms))
    stacked = np.exp(sum(share * np.log(forecasts[form.name]) for share, form in zip(shares, forms, strict=True)))
    found = {name: relative_error(forecast, rest.loss) for name, forecast in forecasts.items()}
    return found | {"stack": relative_error(stacked, rest.loss)}


if __name__ == "__main__":
    main()
