"""Published tables of finished runs, from ../shared/data/scaling (each folder there says whence)."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.table import FLOPS, LOSS, Table

SCALING = Path(__file__).resolve().parents[2] / "shared" / "data" / "scaling"
PORIAN_SETTING = ("dataset", "hparams", "warmup", "decay", "param_count", "val", "source_file")
Row = dict[str, str]


def all_sets() -> dict[str, Table]:
    """Every table by its name, runs of one setting each."""
    return (
        {"epoch": epoch()} | gadre() | {"datablations one epoch": datablations(), "misfitting": misfitting()} | porian()
    )


def epoch() -> Table:
    """Hoffmann et al. 2022, Fig. 4, as extracted by Besiroglu et al. 2024, without their five outliers."""
    path = SCALING / "epoch_chinchilla" / "svg_extracted_data.csv"
    table = Table.read(path, names={PARAMS: "Model Size", FLOPS: "Training FLOP"})
    return table.take(np.sort(np.argsort(table.loss)[:240]))


def gadre() -> dict[str, Table]:
    """Gadre et al. 2024: three training sets, C4 validation."""
    rows = _rows("overtraining_gadre/models_tidy.csv")
    columns = {PARAMS: "params", TOKENS: "tokens", LOSS: "loss_c4_val"}
    return {f"gadre {name}": _table(group, columns) for name, group in _grouped(rows, lambda row: row["dataset_name"])}


def datablations(*, repeated: bool = False) -> Table:
    """Muennighoff et al. 2023; only the runs of at most one epoch unless ``repeated``."""
    rows = [row for row in _rows("datablations/parametric_fit_runs.csv") if row["raw_name"] != "4b284b12bc4opt2"]
    fresh = [row for row in rows if repeated or float(row["tokens"]) <= 1.01 * float(row["unique_tokens"])]
    columns = {PARAMS: "params", TOKENS: "tokens", LOSS: "val_loss"}
    return _table(fresh, columns | ({UNIQUE: "unique_tokens"} if repeated else {}))


def misfitting() -> Table:
    """Li et al. 2025."""
    rows = _rows("misfitting/scaling_results_last_ckpt_only.csv")
    return _table(rows, {PARAMS: "N", TOKENS: "D", LOSS: "loss"})


def porian() -> dict[str, Table]:
    """Porian et al. 2024: fifteen settings."""
    rows = _rows("porian_resolving/isoflop_points_tidy.csv")
    columns = {PARAMS: "n", TOKENS: "t", FLOPS: "flops", LOSS: "loss"}
    groups = _grouped(rows, lambda row: " ".join(row[name] for name in PORIAN_SETTING))
    return {f"porian {name}": _table(group, columns) for name, group in groups}


def _rows(path: str) -> list[Row]:
    with (SCALING / path).open(newline="") as file:
        return list(csv.DictReader(file))


def _grouped(rows: list[Row], key: Callable[[Row], str]) -> Iterable[tuple[str, list[Row]]]:
    names = sorted({key(row) for row in rows})
    return ((name, [row for row in rows if key(row) == name]) for name in names)


def _table(rows: list[Row], columns: dict[str, str]) -> Table:
    """Rows that have a number in every column."""
    values = [[_number(row[theirs]) for theirs in columns.values()] for row in rows]
    whole = np.array([line for line in values if all(math.isfinite(value) and value > 0 for value in line)])
    return Table.of(dict(zip(columns, whole.T, strict=True)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
