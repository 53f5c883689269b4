"""When to work: the hours of the cleanest electricity before a deadline, for a run that can stop and go on exactly."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from isoflop.core.errors import BudgetError
from isoflop.core.files import read_text

_A_ROW = "A row is a time such as 2026-11-22T17:00Z and grams of CO2e per kWh"


@dataclass(frozen=True)
class Slot:
    """A stretch of time with one intensity."""

    start: datetime
    end: datetime
    grams_per_kwh: float

    @property
    def hours(self) -> float:
        return (self.end - self.start).total_seconds() / 3600


@dataclass(frozen=True)
class Schedule:
    """Windows to work in, and what they save against working at once."""

    windows: list[Slot]
    """Each with its mean intensity; the last one may end before its slot does."""
    grams_per_kwh: float
    """Mean over the hours of work,"""
    at_once: float
    """and of as many from the start on."""

    @property
    def saved(self) -> float:
        """Share of the carbon."""
        return 1 - self.grams_per_kwh / self.at_once if self.at_once else 0.0


def read_intensity(path: Path) -> list[Slot]:
    """A CSV file of times and intensities, ascending, each until the next; the last as long as the one before.

    Raises `BudgetError` with line and column for what cannot be read, `IsoflopError` where the file itself cannot.
    """
    lines = read_text(path, remedy=_A_ROW).splitlines()
    rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row and not row[0].startswith("#")]
    if rows and not _is_number(rows[0][1][1] if len(rows[0][1]) > 1 else ""):
        rows = rows[1:]  # names of columns
    points = [(_time(row, path, number), _grams(row, path, number)) for number, row in rows]
    if len(points) < 2:
        raise BudgetError("fewer than two times", where=str(path), remedy=_A_ROW)
    times = [time for time, _ in points]
    if not all(before < after for before, after in itertools.pairwise(times)):
        raise BudgetError("times do not ascend", where=str(path), remedy="Sort them")
    ends = [*times[1:], times[-1] + (times[-1] - times[-2])]
    return [Slot(time, end, grams) for (time, grams), end in zip(points, ends, strict=True)]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _time(row: Sequence[str], path: Path, number: int) -> datetime:
    try:
        time = datetime.fromisoformat(row[0].strip())
    except ValueError as error:
        raise BudgetError(f"{row[0]!r} is no time", where=f"{path}:{number}, column 1", remedy=_A_ROW) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _grams(row: Sequence[str], path: Path, number: int) -> float:
    text = row[1].strip() if len(row) > 1 else ""
    if not _is_number(text) or float(text) < 0:
        raise BudgetError(f"{text!r} is no intensity", where=f"{path}:{number}, column 2", remedy=_A_ROW)
    return float(text)


def schedule(slots: Sequence[Slot], *, hours: float, start: datetime, deadline: datetime) -> Schedule:
    """The cleanest ``hours`` of work between ``start`` and ``deadline``.

    Raises `BudgetError` where the slots do not cover so many hours.
    """
    within = _within(slots, start, deadline)
    known = sum(slot.hours for slot in within)
    if known < hours:
        what = f"{known:.1f} hours are known of between start and deadline, {hours:.1f} needed"
        raise BudgetError(what, where="--intensity", remedy="Give a later --deadline, or a file that reaches further")
    chosen = sorted(_filled(sorted(within, key=lambda slot: (slot.grams_per_kwh, slot.start)), hours), key=_start)
    at_once = _filled(within, hours)
    return Schedule(_merged(chosen), _mean(chosen), _mean(at_once))


def _start(slot: Slot) -> datetime:
    return slot.start


def _within(slots: Sequence[Slot], start: datetime, deadline: datetime) -> list[Slot]:
    cut = (Slot(max(slot.start, start), min(slot.end, deadline), slot.grams_per_kwh) for slot in slots)
    return [slot for slot in cut if slot.start < slot.end]


def _filled(slots: Sequence[Slot], hours: float) -> list[Slot]:
    """The first of them that make so many hours, the last one in part."""
    taken: list[Slot] = []
    left = hours
    for slot in slots:
        if left <= 1e-9:
            break
        used = min(left, slot.hours)
        taken.append(Slot(slot.start, slot.start + timedelta(hours=used), slot.grams_per_kwh))
        left -= used
    return taken


def _merged(slots: Sequence[Slot]) -> list[Slot]:
    """Slots that touch, as one."""
    windows: list[list[Slot]] = []
    for slot in slots:
        if windows and windows[-1][-1].end == slot.start:
            windows[-1].append(slot)
        else:
            windows.append([slot])
    return [Slot(group[0].start, group[-1].end, _mean(group)) for group in windows]


def _mean(slots: Sequence[Slot]) -> float:
    return sum(slot.grams_per_kwh * slot.hours for slot in slots) / sum(slot.hours for slot in slots)
