"""`isoflop resume --intensity`: a study worked on in the cleanest hours alone, stopped and gone on with in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from isoflop.core.budget import Budget
from isoflop.core.errors import BudgetError, Interrupted, StudyError
from isoflop.core.journal import read_records
from isoflop.core.ledger import spent_seconds
from isoflop.core.process import AGAIN
from isoflop.estimate.windows import Schedule, Slot, read_intensity, schedule
from isoflop.study import Study

SAVED_CODE = 130
"""Of a process that was asked to stop and has saved."""


def now() -> datetime:
    return datetime.now(UTC)


def resume_when_clean(folder: Path, *, intensity: Path, deadline: str, tell: Callable[[str], None]) -> Schedule:
    """Works through what is left of the study's budget in the cleanest hours before the deadline.

    The last window has no end: a study that needs a little longer than reckoned is not cut off. Raises `BudgetError`
    for a file or a deadline that will not do, `Interrupted` where a person stops it, `StudyError` where the work fails.
    """
    study = Study(folder)
    found = schedule(
        read_intensity(intensity), hours=_hours_left(study), start=now(), deadline=now() + _until(deadline)
    )
    tell(
        f"working in {len(found.windows)} windows at {found.grams_per_kwh:.0f} g CO2e/kWh instead of "
        f"{found.at_once:.0f} at once: {found.saved:.0%} less"
    )
    for window in found.windows:
        tell(f"  {window.start:%Y-%m-%d %H:%M} to {window.end:%H:%M} UTC, {window.grams_per_kwh:.0f} g/kWh")
    command = [sys.executable, *AGAIN, "resume", str(folder), "--quiet"]
    for window in found.windows:
        time.sleep(max(0.0, (window.start - now()).total_seconds()))
        code = _work(command, window, is_last=window is found.windows[-1])
        if code == 0:
            return found
        if code != SAVED_CODE:
            raise StudyError(f"the work ended with {code}", where=str(folder), remedy=f"See: isoflop resume {folder}")
        tell(f"paused at {now():%H:%M} UTC; everything is saved")
    return found


def _hours_left(study: Study) -> float:
    spent = spent_seconds(read_records(study.records)) if study.records.exists() else 0.0
    budget = study.given.budget_seconds
    if budget is None:
        raise BudgetError(
            "a budget that no machine has turned into hours yet", where=str(study.folder), remedy="Start it once first"
        )
    return max(60.0, budget - spent) / 3600


def _until(deadline: str) -> timedelta:
    budget = Budget.parse(deadline)
    if budget.unit != "s":
        raise BudgetError(f"{deadline!r} is no time", where="--deadline", remedy="Write 2d, 12h or 90min")
    return timedelta(seconds=budget.amount)


def _work(command: list[str], window: Slot, *, is_last: bool) -> int:
    """The exit code of the work until it is done or the window ends."""
    process = subprocess.Popen(command)
    try:
        left = None if is_last else max(0.0, (window.end - now()).total_seconds())
        return process.wait(timeout=left)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise Interrupted(
            "interrupted; what was finished is kept", remedy="The same command again goes on from there"
        ) from None
