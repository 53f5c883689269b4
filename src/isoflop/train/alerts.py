"""What a person would look at while a run lasts: it slows down, it learns no more, it nears the end of memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
import psutil

from isoflop.core.process import head_of_work
from isoflop.core.records import Alert, Step
from isoflop.machine.limits import usable_memory
from isoflop.machine.monitor import tree_use

MIN_RECORDS = 15
USUAL_RECORDS = 1000
SLOW = 0.6
"""Of the median speed so far; so many records in a row below it are a slow spell, not a hiccup."""
SLOW_RECORDS = 5
PLATEAU_RECORDS = 60
PLATEAU_SHARE = 0.2
"""Of the records so far, but so many at least: between their halves the loss should have fallen."""
MEMORY_SHARE = 0.92


class Alerts:
    """Judges a run's records in order; every kind is told once until it is over, a plateau once."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._speeds, self._losses = array("d"), array("d")
        self._told: set[str] = set()

    def judge(
        self, step: Step, *, annealing: bool, num_absent: int = 0, memory_share: float | None = None
    ) -> list[Alert]:
        """What is new. ``annealing``: the rate falls, so that the loss has to; a plateau is looked for before that.
        ``num_absent``: of the processes that train apart, in the last round."""
        share = memory_use() if memory_share is None else memory_share
        self._speeds.append(step.tokens_per_second)
        self._losses.append(step.loss)
        found = dict((*self._slow(), *(() if annealing else self._plateau()), *_memory(share), *_absent(num_absent)))
        new = [Alert(self.run, step.step, code, message) for code, message in found.items() if code not in self._told]
        self._told = set(found) | (self._told & {"plateau"})  # which hovers about its threshold
        return new

    def _slow(self) -> Iterator[tuple[str, str]]:
        speeds = np.array(self._speeds[-USUAL_RECORDS:])
        usual, last = float(np.median(speeds)), speeds[-SLOW_RECORDS:]
        if len(speeds) >= MIN_RECORDS and last.max() < SLOW * usual:
            share = last.mean() / usual
            yield "slow", f"{share:.0%} of the usual {usual:,.0f} tokens/s: something else uses this machine"

    def _plateau(self) -> Iterator[tuple[str, str]]:
        half = max(PLATEAU_RECORDS, int(PLATEAU_SHARE * len(self._losses))) // 2
        if len(self._losses) < 2 * half:
            return
        before, after = np.array(self._losses[-2 * half :]).reshape(2, half)
        error = ((before.var() + after.var()) / half) ** 0.5
        if before.mean() - after.mean() < error:
            yield "plateau", f"the loss has not fallen for {half} records; at a constant rate that is its floor"


def memory_use() -> float:
    """Share of the memory that this work's processes may use that they do; 0 where nobody tells."""
    try:
        return tree_use(psutil.Process(head_of_work())).memory_bytes / usable_memory()
    except (psutil.Error, OSError):
        return 0.0


def _absent(count: int) -> Iterator[tuple[str, str]]:
    if count:
        yield (
            "absent",
            f"{count} of the processes that train apart took no part in the last round: its text is not read",
        )


def _memory(share: float) -> Iterator[tuple[str, str]]:
    if share > MEMORY_SHARE:
        yield "memory", f"{share:.0%} of the memory that this process may use is taken"
