"""Approach 1 (Hoffmann et al. 2022, sec. 3.1): the best size at each cost, read off the envelope of training curves.

Every size's curves give its loss at any FLOPs between; the size of the lowest is the best one there. The least of many
noisy curves lies below the true envelope: the bias is measured by adding the curves' noise once more to their smoothed
shapes, and taken off (Efron & Tibshirani 1993, ch. 10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.core.errors import TableError
from isoflop.law.forms import PARAMS, Array
from isoflop.law.isoflop import PowerLaw
from isoflop.law.table import Table

NUM_COSTS = 1500
"""Hoffmann's grid of FLOPs."""
NUM_REPEATS = 20
"""Of the added noise, to measure the bias of the least."""
SPAN = 0.4
"""Share of a curve's points that smooth each of them."""


@dataclass(frozen=True)
class Envelope:
    """The least loss at each cost and the size that has it."""

    flops: Array
    sizes: Array
    losses: Array
    """Nats per token, freed of the bias of the least."""
    bias: Array
    """Relative, as it was taken off; below zero."""
    law: PowerLaw
    """N* of C, through the costs at which the best size is neither the smallest nor the largest."""


def approach_1(table: Table, *, smooth: bool = True, seed: int = 0) -> Envelope:
    """Rows are states of training: one size's rows at growing FLOPs are its curve. Raises ``TableError`` where fewer
    than three sizes have a curve of five points or more."""
    curves = [_Curve.of(table.take(table.columns[PARAMS] == size), smooth=smooth) for size in _sizes(table)]
    if len(curves) < 3:
        remedy = "Log losses during training, at 5 points or more"
        raise TableError("fewer than three sizes have a training curve", remedy=remedy)
    log_flops = np.linspace(min(c.log_flops[0] for c in curves), max(c.log_flops[-1] for c in curves), NUM_COSTS)
    sizes = np.array([curve.size for curve in curves])
    losses = np.array([curve.at(log_flops) for curve in curves])
    bias = _bias(curves, log_flops, losses, np.random.default_rng(seed)) if smooth else np.zeros(NUM_COSTS)
    covered = np.isfinite(losses).any(axis=0)
    best = np.argmin(losses[:, covered], axis=0)
    inner = (best > 0) & (best < len(sizes) - 1)
    flops = np.exp(log_flops[covered])
    return Envelope(
        flops=flops,
        sizes=sizes[best],
        losses=np.exp(losses[:, covered].min(axis=0) - bias[covered]),
        bias=bias[covered],
        law=PowerLaw.through(flops[inner], sizes[best][inner]),
    )


def _sizes(table: Table) -> list[float]:
    sizes, counts = np.unique(table.columns[PARAMS], return_counts=True)
    return [float(size) for size, count in zip(sizes, counts, strict=True) if count >= 5]


@dataclass(frozen=True)
class _Curve:
    """Log loss over log FLOPs of one size."""

    size: float
    log_flops: Array
    log_loss: Array
    noise: float
    """Sd of the points about the smoothed curve."""

    @staticmethod
    def of(rows: Table, *, smooth: bool) -> _Curve:
        order = np.argsort(rows.cost, kind="stable")
        log_flops, log_loss = np.log(rows.cost[order]), np.log(rows.loss[order])
        shape = smoothed(log_flops, log_loss) if smooth else log_loss
        noise = float(np.sqrt(np.mean((log_loss - shape) ** 2) / (1 - 3 / max(SPAN * len(shape), 4))))
        return _Curve(float(rows.columns[PARAMS][0]), log_flops, shape, noise)

    def at(self, log_flops: Array, shift: Array | float = 0.0) -> Array:
        """Log loss at other FLOPs; infinite outside the curve."""
        return np.interp(log_flops, self.log_flops, self.log_loss + shift, left=np.inf, right=np.inf)


def smoothed(x: Array, y: Array) -> Array:
    """Local parabolas with tricube weights (LOESS: Cleveland 1979), at the points themselves."""
    num_near = max(5, round(SPAN * len(x)))
    result = np.empty_like(y)
    for i in range(len(x)):
        distance = np.abs(x - x[i])
        reach = max(np.partition(distance, num_near - 1)[num_near - 1] if len(x) > num_near else distance.max(), 1e-12)
        weight = np.clip(1 - (distance / (1.0001 * reach)) ** 3, 0, None) ** 1.5
        offset = (x - x[i]) / reach
        design = np.stack([np.ones_like(x), offset, offset**2], axis=1) * weight[:, None]
        result[i] = np.linalg.lstsq(design, y * weight, rcond=None)[0][0]
    return result


def _bias(curves: list[_Curve], log_flops: Array, losses: Array, rng: np.random.Generator) -> Array:
    """How far the least of the smoothed curves lies below the true one, by adding what noise smoothing leaves."""
    left = [curve.noise / np.sqrt(max(SPAN * len(curve.log_loss) / 3, 1)) for curve in curves]
    total = np.zeros_like(log_flops)
    for _ in range(NUM_REPEATS):
        noisy = [curve.at(log_flops, sd * rng.standard_normal()) for curve, sd in zip(curves, left, strict=True)]
        lowest = np.min(noisy, axis=0)
        with np.errstate(invalid="ignore"):
            total += np.where(np.isfinite(lowest), lowest - losses.min(axis=0), 0.0)
    return total / NUM_REPEATS
