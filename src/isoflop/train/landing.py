"""How a run that was planned in steps ends when its seconds do."""

from __future__ import annotations

import time
from collections import deque

from isoflop.train.schedule import Anchor

TOLERANCE = 0.002
"""A landing expected this close to the deadline (share of the steps left and done) is left alone."""
PACE_SECONDS = 20.0
MIN_PACE_SECONDS = 2.0


class Pace:
    """Seconds per step over the last ``PACE_SECONDS``, everything that happens between steps included."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, step: int) -> None:
        now = time.monotonic()
        self._marks.append((now, step))
        while now - self._marks[0][0] > PACE_SECONDS:
            self._marks.popleft()

    @property
    def seconds_per_step(self) -> float | None:
        """None until there is enough to judge by."""
        (first_time, first_step), (last_time, last_step) = self._marks[0], self._marks[-1]
        if last_step == first_step or last_time - first_time < MIN_PACE_SECONDS:
            return None
        return (last_time - first_time) / (last_step - first_step)


def landed(anchor: Anchor, step: int, *, seconds_per_step: float, seconds_left: float) -> Anchor:
    """``anchor``, or one that ends when ``seconds_left`` are over at this pace, where the two differ noticeably."""
    num_steps = step + max(1, int(seconds_left / seconds_per_step))
    if anchor.final:
        num_steps = min(num_steps, anchor.num_steps)
    if abs(num_steps - anchor.num_steps) <= max(1.0, TOLERANCE * anchor.num_steps):
        return anchor
    return anchor.moved(step, num_steps)
