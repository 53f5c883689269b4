"""A table of finished runs: columns of positive numbers, and where each row came from."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.core.errors import TableError
from isoflop.law.forms import FORMS, PARAMS, TOKENS, UNIQUE, Array
from isoflop.law.forms.annealed import ANNEALING

LOSS, FLOPS = "loss", "flops"
FLOPS_PER_PARAMETER_TOKEN = 6.0
"""C = 6 N D (Kaplan et al. 2020): what completes a table of which N or D is not given."""

STEPS = "steps"
COUNTS = ("params", "params_all", "params_non_embedding", "params_matmul")
"""Columns that count parameters; where a table has two, their exponents are compared."""
KNOWN = {LOSS, FLOPS, STEPS, *COUNTS} | {column for form in FORMS.values() for column in form.columns}
"""Headers that are read without being named."""

MIXED_UNITS = 30.0
"""A run whose FLOPs over N D differ from the others' by more than this factor counts in another unit."""


@dataclass(frozen=True)
class Table:
    """Runs of one setting. All columns are [points] of positive finite numbers; tokens may repeat unique ones."""

    columns: Mapping[str, Array]
    """At least ``params``, ``tokens`` and ``loss`` (nats per token)."""
    rows: Sequence[str] = field(default_factory=list)
    """Name of each row in messages."""

    @staticmethod
    def of(
        columns: Mapping[str, ArrayLike], *, rows: Sequence[str] = (), where: str = "table", needs_loss: bool = True
    ) -> Table:
        """From arrays by column name; of ``params``, ``tokens`` and ``flops`` two are enough (C = 6 N D).

        Raises ``TableError`` that names column and row for a value that is not positive and finite, and for columns
        that are missing or of unequal length.
        """
        arrays = {name: np.atleast_1d(np.asarray(values, dtype=float)) for name, values in columns.items()}
        if len({array.shape for array in arrays.values()}) > 1:
            lengths = ", ".join(f"{name} {array.size}" for name, array in arrays.items())
            raise TableError(f"columns differ in length: {lengths}", where=where, remedy="Give every run every value")
        arrays = _completed(arrays, where, needs_loss=needs_loss)
        names = list(rows) or [f"row {i + 1}" for i in range(len(arrays[PARAMS]))]
        _check(arrays, names, where)
        _refuse_mixed_units(arrays, names, where)
        return Table(arrays, names)

    @staticmethod
    def read(path: Path, *, names: Mapping[str, str] | None = None, needs_loss: bool = True) -> Table:
        """A CSV file with a header; ``names`` says which header stands for a column ({"params": "N"}).

        Raises ``TableError`` with file, line and column for what cannot be read.
        """
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
        if not lines:
            raise TableError("the file is empty", where=str(path), remedy="Give a header and a line a run")
        header = [cell.strip() for cell in lines[0]]
        _refuse_twins(header, path)
        wanted = _wanted(header, names or {}, path)
        numbered = [(i, line) for i, line in enumerate(lines[1:], start=2) if any(cell.strip() for cell in line)]
        columns = {name: [_number(line, at, i, path, header) for i, line in numbered] for name, at in wanted.items()}
        return Table.of(columns, rows=[f"line {i}" for i, _ in numbered], where=str(path), needs_loss=needs_loss)

    def __len__(self) -> int:
        return len(self.columns[PARAMS])

    @property
    def loss(self) -> Array:
        return self.columns[LOSS]

    @property
    def cost(self) -> Array:
        """FLOPs of each run: its column, or 6 N D."""
        if FLOPS in self.columns:
            return self.columns[FLOPS]
        result: Array = FLOPS_PER_PARAMETER_TOKEN * self.columns[PARAMS] * self.columns[TOKENS]
        return result

    def places(self) -> dict[str, Array]:
        """The columns that a form may ask for; unique tokens are unlimited where nothing is said of them."""
        result = {name: values for name, values in self.columns.items() if name != LOSS}
        result.setdefault(UNIQUE, np.full(len(self), np.inf))
        return result

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Table:
        """The rows at ``index``, or where it is true."""
        numbers = np.arange(len(self))[index]
        return Table({name: values[numbers] for name, values in self.columns.items()}, [self.rows[i] for i in numbers])


def _completed(arrays: dict[str, Array], where: str, *, needs_loss: bool) -> dict[str, Array]:
    """With N, D and C: whichever one of them is missing follows from the other two."""
    known = {name for name in (PARAMS, TOKENS, FLOPS) if name in arrays}
    missing = [LOSS] if needs_loss and LOSS not in arrays else []
    if len(known) < 2:
        missing += sorted({PARAMS, TOKENS} - known)
    if missing:
        remedy = f"Columns are {PARAMS}, {TOKENS} (or {FLOPS}) and {LOSS}; name yours with --columns params=N,tokens=D"
        raise TableError(f"no column {' and no column '.join(missing)}", where=where, remedy=remedy)
    result = dict(arrays)
    with np.errstate(divide="ignore", invalid="ignore"):
        if PARAMS not in known:
            result[PARAMS] = arrays[FLOPS] / FLOPS_PER_PARAMETER_TOKEN / arrays[TOKENS]
        if TOKENS not in known:
            result[TOKENS] = arrays[FLOPS] / FLOPS_PER_PARAMETER_TOKEN / arrays[PARAMS]
    return result


def _check(arrays: Mapping[str, Array], rows: Sequence[str], where: str) -> None:
    for name, values in arrays.items():
        least = 0.0 if name == ANNEALING else np.nextafter(0, 1)
        allowed = (values >= least) & (np.isfinite(values) | (name == UNIQUE))
        for i in np.flatnonzero(~allowed)[:1]:
            raise TableError(
                f"{name} is {values[i]:g}, which is not a positive number",
                where=f"{where}, {rows[i]}",
                remedy="Remove the run, or correct the value",
            )


def _refuse_mixed_units(arrays: Mapping[str, Array], rows: Sequence[str], where: str) -> None:
    """FLOPs over 6 N D are much the same for all runs of a table; a row far from the others counts in another unit."""
    if FLOPS not in arrays:
        return
    ratio = np.log(arrays[FLOPS] / arrays[PARAMS] / arrays[TOKENS])
    off = ratio - np.median(ratio)
    for i in np.flatnonzero(np.abs(off) > np.log(MIXED_UNITS))[:1]:
        raise TableError(
            f"{FLOPS} over {PARAMS} x {TOKENS} is {np.exp(off[i]):.3g} times that of the other runs",
            where=f"{where}, {rows[i]}",
            remedy="Write all values of a column in one unit (parameters and tokens in ones)",
        )


def _refuse_twins(header: Sequence[str], path: Path) -> None:
    twins = sorted({name for name in header if name and header.count(name) > 1})
    if twins:
        raise TableError(f"two columns are called {twins[0]}", where=f"{path}, line 1", remedy="Rename one of them")


def _wanted(header: Sequence[str], names: Mapping[str, str], path: Path) -> dict[str, int]:
    """Our name of each column to read, with its place in the header."""
    absent = [theirs for theirs in names.values() if theirs not in header]
    if absent:
        remedy = f"The file has {', '.join(header)}"
        raise TableError(f"there is no column {absent[0]}", where=f"{path}, line 1", remedy=remedy)
    ours = {name: name for name in header if name in KNOWN} | dict(names)
    return {name: header.index(theirs) for name, theirs in ours.items()}


def _number(line: Sequence[str], at: int, number: int, path: Path, header: Sequence[str]) -> float:
    text = line[at].strip() if at < len(line) else ""
    try:
        return float(text)
    except ValueError:
        what = f"{header[at]} is {text!r}" if text else f"{header[at]} is missing"
        remedy = "Write one number, without thousands separators, or remove the line"
        raise TableError(what, where=f"{path}, line {number}", remedy=remedy) from None


def geometric_mean(values: Array) -> float:
    """exp of the mean log."""
    return math.exp(float(np.log(values).mean()))
