"""ScaleBench (Li et al. 2026, arXiv 2604.22753): which runs to do, judged by the law they give at a costly target.

    python benchmarks/scalebench.py --data ../shared/data/scaling/scalebench --task data_constrained --out /tmp/sb

A task is a pool of finished runs with costs and a target region. Within 1, 5 and 10 % of the pool's whole cost runs are
chosen one after another, a law is fitted, and its R^2 at the target (clipped to [-1, 1]) is taken, as in the authors'
own runner; ten repeats differ in their seed. Published R^2 (their README, Table 2, "Ours") stand beside. The folder
holds TASK__train.parquet and TASK__test.parquet, or TASK_scaling_law/train-*.parquet and test-*.parquet as in the
repository. Two to four minutes a task.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from corpora import save, stamp
from isoflop.law.explore import Explorer
from isoflop.law.forms import BATCH, LEARNING_RATE, PARAMS, TOKENS, UNIQUE, VOCABULARY, Array, form_of

BUDGETS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Task:
    """How a task's columns are called here, the forms that may hold, and what was published at the three budgets."""

    columns: Mapping[str, str]
    loss: str
    forms: tuple[str, ...]
    published: tuple[float, float, float]
    shift: float = 0.0
    """Added to losses that are differences and may be negative; a form with a free floor does not mind."""


TASKS = {
    "data_constrained": Task(
        {PARAMS: "params", TOKENS: "tokens", UNIQUE: "unique_tokens"},
        "loss",
        ("chinchilla", "muennighoff", "repeated_chinchilla", "coupled", "bounded_epochs"),
        (0.73, 0.85, 0.86),
    ),
    "vocab": Task(
        {PARAMS: "non_vocab_parameters", TOKENS: "num_characters", VOCABULARY: "vocab_size"},
        "unigram_normalized_loss",
        ("vocabulary",),
        (0.96, 0.98, 0.98),
        shift=10.0,
    ),
    "lr_bsz": Task(
        {PARAMS: "non_embedding_param_size", TOKENS: "data_size", LEARNING_RATE: "lr", BATCH: "bsz"},
        "lm_loss",
        ("tuned",),
        (-0.66, 0.0, 0.22),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    task = TASKS[arguments.task]
    found = np.array([repeat(task, arguments.data, arguments.task, seed) for seed in range(arguments.repeats)])
    rows = [
        {"budget": budget, "r2": float(mean), "sd": float(sd), "published": published}
        for budget, mean, sd, published in zip(
            BUDGETS, found.mean(axis=0), found.std(axis=0), task.published, strict=True
        )
    ]
    for row in rows:
        print("budget={budget:.0%} r2={r2:.3f} sd={sd:.3f} published={published:.2f}".format(**row))
    save(arguments.out / f"scalebench-{arguments.task}.json", stamp() | {"task": arguments.task, "rows": rows})


def repeat(task: Task, data: Path, name: str, seed: int) -> list[float]:
    """R^2 at each budget; groups are explored apart and judged together, as in the authors' runner."""
    pool, target = (read(data, name, split) for split in ("train", "test"))
    forecasts = [
        explored(task, pool, target, group, seed) for group in sorted(set(pool["group"]) & set(target["group"]))
    ]
    measured = np.concatenate([losses for losses, _ in forecasts])
    return [r_squared(measured, np.concatenate([each[i] for _, each in forecasts])) for i in range(len(BUDGETS))]


def explored(
    task: Task, pool: Mapping[str, Array], target: Mapping[str, Array], group: str, seed: int
) -> tuple[Array, list[Array]]:
    """Measured losses of a group's targets, and their forecasts at each budget."""
    here, there = (_of(task, table, group) for table in (pool, target))
    losses = pool[task.loss][pool["group"] == group] + task.shift
    costs = 6.0 * here[PARAMS] * here[TOKENS]
    explorer = Explorer([form_of(form) for form in task.forms], here, costs, there, seed=seed)
    forecasts = []
    for budget in BUDGETS:
        while runs := explorer.ask(budget * float(costs.sum())):
            for run in runs:
                explorer.tell(run, float(losses[run]))
        forecasts.append(explorer.forecast().loss - task.shift)
    return target[task.loss][target["group"] == group], forecasts


def _of(task: Task, table: Mapping[str, Array], group: str) -> dict[str, Array]:
    return {ours: table[theirs][table["group"] == group] for ours, theirs in task.columns.items()}


def r_squared(measured: Array, forecast: Array) -> float:
    """1 - residual over total sum of squares, clipped to [-1, 1]; -1 where a forecast is no number."""
    residual, total = (float(np.sum((measured - other) ** 2)) for other in (forecast, measured.mean()))
    return float(np.clip(1 - residual / total, -1, 1)) if np.isfinite(residual) else -1.0


def read(data: Path, task: str, split: str) -> dict[str, Any]:
    """Columns of a split as arrays."""
    paths = [data / f"{task}__{split}.parquet", *sorted((data / f"{task}_scaling_law").glob(f"{split}-*.parquet"))]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise SystemExit(f"{data}: there is no {task}__{split}.parquet nor {task}_scaling_law/{split}-*.parquet")
    return {name: np.array(values) for name, values in parquet.read_table(found).to_pydict().items()}


if __name__ == "__main__":
    main()
