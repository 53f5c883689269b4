"""Approach 2 (Hoffmann et al. 2022, sec. 3.2): the best size at each cost, read off runs of equal FLOPs.

Three ways to read a group's minimum. A parabola in log N over the whole range is badly biased where sizes reach far
(exponent 1.21 instead of .835 on Porian et al. 2024's points); one over a window about the lowest run is not, and
Akima's interpolation, which assumes no shape, came closest to their published exponents (scaling.md sec. 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isoflop.core.errors import TableError
from isoflop.core.products import StudyWarning
from isoflop.law.forms import PARAMS, TOKENS, Array
from isoflop.law.optimum import for_flops, optimum
from isoflop.law.solve import Fitted
from isoflop.law.table import FLOPS_PER_PARAMETER_TOKEN, LOSS, Table

Reading = Literal["window", "parabola", "akima"]
WINDOW = 4.0
"""Sizes within this factor of the best enter the parabola of ``window``."""
FINENESS = 1e-4
"""Step in log N at which Akima's curve is searched."""
SAME_COST = 0.02
"""Runs whose FLOPs differ by less, relatively, are one group."""


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


def isoflop_minimum(
    sizes: Sequence[float] | Array, losses: Sequence[float] | Array, *, reading: Reading = "window"
) -> EdgeMinimum | float:
    """The size of least loss among runs of one cost.

    ``window`` uses the sizes within a factor of ``WINDOW`` of the best and at least its two neighbours. Never
    extrapolates: a minimum at an end, a concave parabola or a vertex outside the sizes is an :class:`EdgeMinimum`.
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
    log_size = np.log(size / size[best])
    if reading == "akima":
        return float(size[best] * np.exp(_akima_bottom(log_size, loss)))
    if reading == "window":
        inside = np.abs(log_size) <= np.log(WINDOW)
        inside[best - 1 : best + 2] = True
        log_size, loss = log_size[inside], loss[inside]
    curvature, slope, _ = np.polyfit(log_size, loss, 2)
    vertex = -slope / (2 * curvature) if curvature > 0 else np.inf
    if not log_size[0] <= vertex <= log_size[-1]:
        return EdgeMinimum("neither", float(size[best]))
    return float(size[best] * np.exp(vertex))


def _akima_bottom(log_size: Array, loss: Array) -> float:
    """Where Akima's curve through the points is lowest."""
    fine = np.arange(log_size[0], log_size[-1], FINENESS)
    return float(fine[np.argmin(akima(log_size, loss, fine))])


def akima(x: Array, y: Array, at: Array) -> Array:
    """Akima's piecewise cubic (1970, J. ACM 17(4)) through (x, y), x increasing, at places within it.

    A knot's slope is the mean of its neighbours' slopes, each weighted by how straight the other side is; two slopes
    beyond either end continue the last ones linearly. Where both sides are straight the weights are equal.
    """
    steps = np.diff(x)
    slopes = np.diff(y) / steps
    first, last = 2 * slopes[0] - slopes[min(1, len(slopes) - 1)], 2 * slopes[-1] - slopes[max(-2, -len(slopes))]
    slopes = np.concatenate([[2 * first - slopes[0], first], slopes, [last, 2 * last - slopes[-1]]])
    turns = np.abs(np.diff(slopes))
    right, left = turns[2:], turns[:-2]
    whole = right + left
    straight = whole <= 1e-9 * turns.max()
    weight = np.where(straight, 0.5, right / np.where(straight, 1.0, whole))
    knots = weight * slopes[1:-2] + (1 - weight) * slopes[2:-1]
    inner = slopes[2:-2]
    square, cube = (3 * inner - 2 * knots[:-1] - knots[1:]) / steps, (knots[:-1] + knots[1:] - 2 * inner) / steps**2
    piece = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(steps) - 1)
    offset = at - x[piece]
    result: Array = y[piece] + offset * (knots[piece] + offset * (square[piece] + offset * cube[piece]))
    return result


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient x^exponent."""

    coefficient: float
    exponent: float

    def __call__(self, x: float) -> float:
        return self.coefficient * x**self.exponent

    @staticmethod
    def through(x: Array, y: Array) -> PowerLaw:
        """Least squares in logs; ``TableError`` with fewer than two places."""
        if len(np.unique(x)) < 2:
            what = "the best size is enclosed at fewer than two costs: no power law can be drawn"
            raise TableError(what, remedy="Add sizes at both ends, or costs")
        exponent, level = np.polyfit(np.log(x), np.log(y), 1)
        return PowerLaw(float(np.exp(level)), float(exponent))


@dataclass(frozen=True)
class Frontier:
    """Best sizes at several costs, and the power law of them."""

    flops: Array
    """[groups with a minimum inside]"""
    sizes: Array
    law: PowerLaw
    """N* of C."""
    refused: dict[float, EdgeMinimum]
    """By FLOPs: the groups that do not enclose their best size, and where to add some."""


def approach_2(table: Table, *, reading: Reading = "akima") -> Frontier:
    """Minima of all groups of equal FLOPs (at least three sizes), and N* as a power law of C."""
    found: dict[float, float | EdgeMinimum] = {}
    for flops, group in isoflop_groups(table).items():
        sizes, losses = best_per_size(group)
        if len(sizes) >= 3:
            found[flops] = isoflop_minimum(sizes, losses, reading=reading)
    inside = {flops: size for flops, size in found.items() if not isinstance(size, EdgeMinimum)}
    costs, sizes = np.array(list(inside)), np.array(list(inside.values()))
    refused = {flops: edge for flops, edge in found.items() if isinstance(edge, EdgeMinimum)}
    return Frontier(costs, sizes, PowerLaw.through(costs, sizes), refused)


def reading_bias(table: Table, fitted: Fitted, *, reading: Reading = "akima") -> float:
    """By how much a reading's exponent of N* is off at these sizes and costs, were ``fitted`` the truth and no noise.

    Groups that are wide, off their centre or few bend it (Open-Athena 2026, arXiv 2603.22339). The reading is taken of
    the fitted law's own losses where the runs are, and compared with that law's best sizes at the same costs: those
    that enclose a best size both as measured and as fitted. Raises ``TableError`` with fewer than two such.
    """
    columns = table.places()
    drawn = Table({**table.columns, LOSS: np.exp(fitted.log_loss(columns))}, table.rows)
    read, measured = approach_2(drawn, reading=reading), approach_2(table, reading=reading)
    both = np.isin(read.flops, measured.flops)
    costs, sizes = read.flops[both], read.sizes[both]

    def loss(params: Array, tokens: Array) -> Array:
        return np.exp(fitted.log_loss({PARAMS: params, TOKENS: tokens}))

    per_token = float(np.median(table.cost / columns[PARAMS] / columns[TOKENS]))
    true = np.array([optimum(loss, for_flops(FLOPS_PER_PARAMETER_TOKEN * c / per_token)).params for c in costs])
    return PowerLaw.through(costs, sizes).exponent - PowerLaw.through(costs, true).exponent


def isoflop_groups(table: Table) -> dict[float, Table]:
    """Runs of one cost, by their FLOPs (the group's geometric mean), cheapest first."""
    order = np.argsort(table.cost, kind="stable")
    costs = table.cost[order]
    starts = np.flatnonzero(np.diff(np.log(costs)) > SAME_COST) + 1
    return {float(np.exp(np.log(table.cost[part]).mean())): table.take(part) for part in np.split(order, starts)}


def best_per_size(group: Table) -> tuple[Array, Array]:
    """Distinct sizes in order, and the least loss of each."""
    sizes = np.unique(group.columns[PARAMS])
    losses = np.array([group.columns[LOSS][group.columns[PARAMS] == size].min() for size in sizes])
    return sizes, losses
