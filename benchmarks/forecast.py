"""Forecast against outcome: isoflop on four corpora at several budgets (docs/log.md, README).

    python benchmarks/forecast.py --budgets 5min 10min 30min --out /tmp/forecast

Prints and saves, for every run, predicted and measured test bits per byte, the error, and whether the 90 % interval
held; beside it the hours and the energy of the plan and of the meter. The bars: error at most 3 % each, inside in at
least 9 of 12; hours within 5 % and energy inside in 9 of 10. Takes the sum of the budgets: 3 hours for all.
Finished runs in --out are not repeated. ``--corpora gutenberg shakespeare`` are texts that the prior never saw.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from corpora import CORPORA, STRANGERS, run_study, save, stamp, tell
from isoflop.report.terminal import facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", default=["5min", "10min", "30min"])
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [
        row(name, budget, arguments.seed, arguments.out) for budget in arguments.budgets for name in arguments.corpora
    ]
    worst = max(abs(each["error"]) for each in rows)
    save(
        arguments.out / "forecast.json",
        stamp()
        | {
            "worst_error": worst,
            "inside": sum(each["inside"] for each in rows),
            "energy_inside": sum(each["energy_inside"] for each in rows),
            "within_5_percent_of_the_hours": sum(abs(each["seconds_over_budget"]) <= 0.05 for each in rows),
            "of": len(rows),
            "rows": rows,
        },
    )


def row(name: str, budget: str, seed: int, out: Path) -> dict[str, Any]:
    """One run (or the one that already stands in ``out``) as a line of the table."""
    folder = out / f"{name}-{budget}-{seed}"
    done = facts(folder) if (folder / "report.html").exists() else run_study(name, budget=budget, out=folder, seed=seed)
    measured, predicted = done["test_bits_per_byte"], done["predicted_bits_per_byte"]
    result = {
        "corpus": name,
        "budget": budget,
        "predicted": predicted,
        "low": done["predicted_low"],
        "high": done["predicted_high"],
        "measured": measured,
        "error": predicted / measured - 1,
        "inside": done["predicted_low"] <= measured <= done["predicted_high"],
        "seconds_over_budget": done["seconds"] / done["budget_seconds"] - 1,
        "energy_error": done["predicted_joules"] / done["joules"] - 1,
        "energy_inside": done["predicted_joules_low"] <= done["joules"] <= done["predicted_joules_high"],
        "pilot_fraction": done["pilot_fraction"],
        "num_parameters": done["num_parameters"],
        "tokens": done["tokens"],
    }
    tell(result)
    return result


if __name__ == "__main__":
    main()
