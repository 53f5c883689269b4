"""Budgets: what a person is willing to spend, in seconds, FLOPs, dollars, kilowatt-hours or grams of CO2e."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from isoflop.core.errors import BudgetError

Unit = Literal["s", "FLOP", "$", "kWh", "gCO2e"]

_SECONDS_PER_HOUR = 3600.0
_JOULES_PER_KWH = 3.6e6
_FORMS = (
    "Write a positive number with its unit: 90s, 30min, 2h, 1d, 1e15flop, 2.5PFLOP, $5, 5usd, 300Wh, 0.2kWh, "
    "50gCO2e or 1.5kgCO2e"
)
_NUMBER = re.compile(r"([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf(?:inity)?))\s*(.*)", re.IGNORECASE)

_SIZES: dict[Unit, dict[str, float]] = {
    "s": {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0},
    "FLOP": {
        "ZFLOP": 1e21,
        "EFLOP": 1e18,
        "PFLOP": 1e15,
        "TFLOP": 1e12,
        "GFLOP": 1e9,
        "MFLOP": 1e6,
        "kFLOP": 1e3,
        "FLOP": 1.0,
    },
    "$": {"$": 1.0},
    "kWh": {"MWh": 1e3, "kWh": 1.0, "Wh": 1e-3},
    "gCO2e": {"tCO2e": 1e6, "kgCO2e": 1e3, "gCO2e": 1.0},
}
"""Printed units of each base unit, largest first, with their size in it."""

_ALIASES = {
    "days": "d",
    "day": "d",
    "hours": "h",
    "hour": "h",
    "hr": "h",
    "minutes": "min",
    "minute": "min",
    "m": "min",
    "seconds": "s",
    "second": "s",
    "sec": "s",
    "usd": "$",
}


@dataclass(frozen=True)
class Rates:
    """What this machine does and costs while it trains; None where nobody said."""

    flops_per_second: float
    watts: float
    dollars_per_hour: float | None = None
    grams_co2e_per_kwh: float | None = None


@dataclass(frozen=True)
class Conversion:
    """A budget in wall seconds, with the arithmetic in words."""

    seconds: float
    explanation: str


@dataclass(frozen=True)
class Budget:
    """A positive finite ``amount`` of one of five units. ``Budget.parse(str(budget)) == budget``, exactly."""

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise _error(f"{self.amount:g} {self.unit} is no budget")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads ``30min``, ``1e15flop``, ``$5``, ``0.2kWh``, ``50gCO2e`` and their kin.

        Case does not matter, except that ``MWh`` must be written so (``mWh`` would be a milliwatt-hour).
        Raises `BudgetError` for anything that is not a positive finite number with a known unit.
        """
        number, name = _split(text)
        base, size = _find_unit(name, text)
        amount = number * size
        if math.isnan(amount):
            raise _error(f"{text!r} is not a number")
        if amount <= 0:
            raise _error(f"{text!r} is {'negative' if number < 0 else 'zero'}: it buys nothing")
        if math.isinf(amount):
            raise _error(f"{text!r} is infinite")
        return cls(amount, base)

    def __str__(self) -> str:
        """The largest unit that says the amount exactly in six digits, else all digits of the base unit."""
        for name, size in _SIZES[self.unit].items():
            digits = f"{self.amount / size:.6g}"
            if self.amount >= size and float(digits) * size == self.amount:
                return _with_unit(digits, name)
        return _with_unit(repr(self.amount).removesuffix(".0"), self.unit)

    def to_seconds(self, rates: Rates) -> Conversion:
        """Wall seconds that spend this budget at ``rates``.

        Raises `BudgetError` for dollars without a price, and for CO2e without a grid factor.
        """
        if self.unit == "s":
            return Conversion(self.amount, format_seconds(self.amount))
        if self.unit == "FLOP":
            rate = f"{format_si(rates.flops_per_second)}FLOP/s"
            return self._convert(self.amount / rates.flops_per_second, rate)
        if self.unit == "$":
            price = _needed(rates.dollars_per_hour, self, "--price-per-hour 0.40 (dollars for an hour of this machine)")
            return self._convert(self.amount / price * _SECONDS_PER_HOUR, f"${price:.2f}/h")
        watts = f"{rates.watts:.3g} W"
        if self.unit == "kWh":
            return self._convert(self.amount * _JOULES_PER_KWH / rates.watts, watts)
        grams = _needed(rates.grams_co2e_per_kwh, self, "--grid FRA (a country, or grams of CO2e per kWh)")
        kwh = self.amount / grams
        return self._convert(kwh * _JOULES_PER_KWH / rates.watts, f"{grams:.3g} g/kWh = {kwh:.3g} kWh, at {watts}")

    def _convert(self, seconds: float, rate: str) -> Conversion:
        return Conversion(seconds, f"{self} at {rate} = {format_seconds(seconds)}")


def format_seconds(seconds: float) -> str:
    """Three significant digits in the unit a person would choose: ``45 s``, ``1.5 min``, ``12.5 h``, ``3 d``."""
    for name, size, floor in (("d", 86400.0, 172800.0), ("h", 3600.0, 3600.0), ("min", 60.0, 60.0)):
        if abs(seconds) >= floor:
            return f"{_digits(seconds / size)} {name}"
    return f"{_digits(seconds)} s"


def format_si(value: float) -> str:
    """Three significant digits and an SI prefix with a space before it: ``250 G``, ``1.5 k``, ``12 ``."""
    for prefix, size in (("Z", 1e21), ("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{_digits(value / size)} {prefix}"
    return f"{_digits(value)} "


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _split(text: str) -> tuple[float, str]:
    stripped = text.strip()
    dollars = stripped.startswith("$")
    match = _NUMBER.fullmatch(stripped.removeprefix("$").strip())
    if match is None:
        raise _error(f"{text!r} does not begin with a number")
    name = match[2].strip()
    if dollars and name:
        raise _error(f"{text!r} has two units, $ and {name!r}")
    return float(match[1]), "$" if dollars else name


def _find_unit(name: str, text: str) -> tuple[Unit, float]:
    if not name:
        raise _error(f"{text!r} has no unit")
    folded = name.casefold()
    wanted = _ALIASES.get(folded, folded.replace("flops", "flop")).casefold()
    if wanted.endswith("co2"):
        wanted += "e"
    for base, sizes in _SIZES.items():
        for unit, size in sizes.items():
            if unit.casefold() == wanted and (unit != "MWh" or name == "MWh"):
                return base, size
    raise _error(f"{text!r} has the unknown unit {name!r}")


def _with_unit(digits: str, name: str) -> str:
    return f"${digits}" if name == "$" else f"{digits}{name}"


def _needed(rate: float | None, budget: Budget, option: str) -> float:
    if rate is None:
        raise _error(f"a budget of {budget} needs a rate to become time", remedy=f"Add {option}")
    if not (math.isfinite(rate) and rate > 0):
        raise _error(f"a budget of {budget} has no end at a rate of {rate:g}", remedy=f"Give a positive {option}")
    return rate


def _error(what: str, *, remedy: str = _FORMS) -> BudgetError:
    return BudgetError(what, where="--budget", remedy=remedy)
