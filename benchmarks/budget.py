"""Is the budget kept? Wall time of the whole command, from start to exit, against its budget.

    python benchmarks/budget.py --budgets 3min 10min 30min --out /tmp/budget

The bar: within 3 %. Needs a new --out: a finished run is not measured again, it is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from corpora import CORPORA, run_study, save, stamp
from isoflop.core.budget import Budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", default=["3min", "10min", "30min"])
    parser.add_argument("--corpus", default="demo", choices=list(CORPORA))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for budget in arguments.budgets:
        facts = run_study(arguments.corpus, budget=budget, out=arguments.out / f"{arguments.corpus}-{budget}")
        wall, wanted = facts["wall_seconds"], Budget.parse(budget).amount
        rows.append(
            {
                "budget": budget,
                "wall_seconds": wall,
                "off": wall / wanted - 1,
                "seconds_booked": facts["seconds"],
                "pilot_fraction": facts["pilot_fraction"],
            }
        )
    save(arguments.out / "budget.json", stamp() | {"worst": max(abs(row["off"]) for row in rows), "rows": rows})


if __name__ == "__main__":
    main()
