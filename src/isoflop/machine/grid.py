"""How much CO2e a kilowatt-hour carries, by country.

Factors: Our World in Data's electricity mix (from Ember and the Energy Institute), as collected in codecarbon 3.3.2,
``global_energy_mix.json``; location-based, of the year each row names. They lie in ``grid.csv``. World average: IEA,
Global Energy & CO2 Status Report 2019.
"""

from __future__ import annotations

import csv
import difflib
import functools
import math
from dataclasses import dataclass
from importlib import resources

from isoflop.core.errors import BudgetError

_SOURCE = "Our World in Data electricity mix, via codecarbon 3.3.2"


@dataclass(frozen=True)
class GridFactor:
    """Grams of CO2e of one kilowatt-hour from a grid, location-based."""

    code: str
    """ISO 3166-1 alpha-3, ``world``, or ``user`` for a number a person gave."""
    name: str
    grams_co2e_per_kwh: float
    year: int | None
    """Year of the figure; None for a number a person gave."""
    source: str


WORLD = GridFactor("world", "World average", 475.0, 2019, "IEA, Global Energy & CO2 Status Report 2019")


def grams_per_kwh(grid: str = "world") -> GridFactor:
    """The factor of ``world``, of a country (``FRA``, ``FR`` or ``France``), or of a number of grams per kWh.

    Raises `BudgetError` with the nearest matches for an unknown grid, and for a number that cannot be one.
    """
    key = grid.strip().casefold()
    try:
        return _user_factor(float(key), grid)
    except ValueError:
        pass
    factors = _factors()
    if key not in factors:
        raise _unknown(grid, list(factors))
    return factors[key]


def _user_factor(grams: float, grid: str) -> GridFactor:
    if not (math.isfinite(grams) and grams >= 0):
        raise BudgetError(f"{grid!r} is no number of grams of CO2e per kWh", where="--grid", remedy="Write e.g. 56")
    return GridFactor("user", "given by the user", grams, None, "the command line")


@functools.cache
def _factors() -> dict[str, GridFactor]:
    """Factors by alpha-3 code, alpha-2 code and name, all case-folded."""
    table = resources.files("isoflop.machine").joinpath("grid.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in table.splitlines() if not line.startswith("#"))
    factors = {"world": WORLD}
    for row in rows:
        factor = GridFactor(row["code"], row["name"], float(row["grams_co2e_per_kwh"]), int(row["year"]), _SOURCE)
        for key in (row["code"], row["code2"], row["name"]):
            factors[key.casefold()] = factor
    return factors


def _unknown(grid: str, keys: list[str]) -> BudgetError:
    near = difflib.get_close_matches(grid.strip().casefold(), keys, n=5, cutoff=0.6)
    names = dict.fromkeys(f"{_factors()[key].code} ({_factors()[key].name})" for key in near)
    guess = f"Did you mean {', '.join(names)}? " if names else ""
    return BudgetError(
        f"unknown grid {grid!r}",
        where="--grid",
        remedy=f"{guess}Write an ISO country code such as FRA, world, or a number of grams of CO2e per kWh",
    )
