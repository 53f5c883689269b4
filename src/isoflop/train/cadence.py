"""How often a run should save: Daly's interval from what a save costs and how often runs of this study were killed."""

from __future__ import annotations

from isoflop.core.daly import daly_interval

PRIOR_SECONDS = 24 * 3600.0
"""One failure in so long is assumed before any was seen (an assumption: a workstation, or a patient cluster)."""
MAX_SHARE = 0.01
"""Of the training time that waiting for saves may take, whatever the interval should be."""
MAX_LOST_SHARE = 1 / 40
"""Of a run that a kill may take, where that is cheap: nobody forgives five of ten minutes, however rare."""
MIN_SECONDS = 15.0


def seconds_between_failures(num_failures: int, seconds: float) -> float:
    """Posterior mean time between failures: those seen in ``seconds`` of work, and the one that is assumed."""
    return (PRIOR_SECONDS + seconds) / (1 + num_failures)


def save_interval(
    blocking_seconds: float, writing_seconds: float, *, between_failures: float, run_seconds: float
) -> float:
    """Seconds until a run's next save: Daly's, oftener where a kill would take much of its ``run_seconds``.

    Training waits for ``blocking_seconds`` of a save; ``writing_seconds`` go on beside it, and Daly's formula is told
    both, for they share cores and memory.
    """
    wanted = min(daly_interval(blocking_seconds + writing_seconds, between_failures), MAX_LOST_SHARE * run_seconds)
    return max(wanted, MIN_SECONDS, blocking_seconds / MAX_SHARE, writing_seconds)
