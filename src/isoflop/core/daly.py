"""Daly's interval between saves, by which a run goes and a cluster is reckoned."""

from __future__ import annotations

import math


def daly_interval(save_seconds: float, seconds_between_failures: float) -> float:
    """Seconds of work between saves that minimise expected wall time (Daly 2006, eq. 37; Young 1974 is its first term).

    ``save_seconds`` is what one save takes from the work; failures come at random, one in
    ``seconds_between_failures`` in the mean.
    """
    if save_seconds >= 2 * seconds_between_failures:
        return seconds_between_failures
    ratio = save_seconds / (2 * seconds_between_failures)
    young = math.sqrt(2 * save_seconds * seconds_between_failures)
    return young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_seconds
