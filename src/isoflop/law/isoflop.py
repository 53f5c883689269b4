"""IsoFLOP curves: the best size at one cost, read off measured runs or off a fitted law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isoflop.core.products import StudyWarning
from isoflop.law.predict import Law

WINDOW = 4.0
"""Sizes within this factor of the best enter the parabola: over the whole range its minimum is badly biased (exponent
1.21 instead of .835 on Porian et al. 2024's points; scaling.md sec. 4)."""


@dataclass(frozen=True)
class EdgeMinimum:
    """An IsoFLOP group without a minimum inside its sizes."""

    side: Literal["smallest", "largest", "neither"]
    """The end at which the lowest loss lies; ``neither`` where the curve has no clear bottom."""
    size: float
    """The size with the lowest loss."""

    def warning(self) -> StudyWarning:
        """Code ``edge_minimum``."""
        where = (
            "no size clearly has the lowest loss"
            if self.side == "neither"
            else f"the {self.side} size has the lowest loss"
        )
        message = f"among pilots of equal FLOPs {where}: they do not enclose the best size"
        return StudyWarning("edge_minimum", message)


def isoflop_minimum(sizes: Sequence[float], losses: Sequence[float]) -> EdgeMinimum | float:
    """The size of least loss among runs of one cost, by a parabola in log N around the lowest (Hoffmann, approach 2).

    Uses the sizes within a factor of ``WINDOW`` of the best and at least its two neighbours. Never extrapolates: a
    minimum at an end, a concave parabola or a vertex outside the window is an :class:`EdgeMinimum`.
    Raises ``ValueError`` unless sizes are positive, distinct and as many as the losses.
    """
    size, loss = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    if size.shape != loss.shape or size.size == 0 or np.any(size <= 0) or len(np.unique(size)) < size.size:
        raise ValueError("sizes must be positive, distinct and as many as the losses")
    order = np.argsort(size)
    size, loss = size[order], loss[order]
    best = int(np.argmin(loss))
    if best in (0, size.size - 1):
        return EdgeMinimum("smallest" if best == 0 else "largest", float(size[best]))
    inside = np.abs(np.log(size / size[best])) <= np.log(WINDOW)
    inside[best - 1 : best + 2] = True
    log_size = np.log(size[inside] / size[best])
    curvature, slope, _ = np.polyfit(log_size, loss[inside], 2)
    vertex = -slope / (2 * curvature) if curvature > 0 else np.inf
    if not log_size[0] <= vertex <= log_size[-1]:
        return EdgeMinimum("neither", float(size[best]))
    return float(size[best] * np.exp(vertex))


def compute_optimal(law: Law, flops: float, *, unique_tokens: float = np.inf) -> tuple[float, float]:
    """(N, D) of least predicted loss under the textbook cost C = 6 N D, on a grid of 0.2 % steps or finer in N.

    For the report; the plan uses measured time instead. ``unique_tokens`` limits fresh data.
    """
    product = flops / 6.0
    size = np.geomspace(1.0, product, 1 + int(np.ceil(np.log(product) / 0.002)))
    best = int(np.argmin(law.loss(size, product / size, unique_tokens)))
    return float(size[best]), float(product / size[best])
