"""IsoFLOP curves from pilots: what each size's loss was at the same cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.core.products import LawPoint

NEAR = 1.05
"""A size reached a level of FLOPs if its own runs come within this factor of it (under 0.02 nats of loss)."""


@dataclass(frozen=True)
class Curve:
    """Losses in nats per token of models that cost the same; ``sizes`` (matmul parameters) ascend."""

    flops: float
    sizes: list[float]
    losses: list[float]


def isoflop_curves(points: Sequence[LawPoint]) -> list[Curve]:
    """A curve for every factor of two in FLOPs that at least two sizes reached."""
    sizes = sorted({point.num_parameters for point in points})
    trunks = [sorted((p for p in points if p.num_parameters == size), key=lambda p: p.flops) for size in sizes]
    if len(trunks) < 2:
        return []
    low, high = sorted(trunk[0].flops for trunk in trunks)[1], sorted(trunk[-1].flops for trunk in trunks)[-2]
    levels = np.geomspace(low, high, 1 + max(0, math.floor(math.log2(high / low))))
    curves = [_curve(trunks, float(level)) for level in levels]
    return [curve for curve in curves if len(curve.sizes) > 1]


def _curve(trunks: Sequence[Sequence[LawPoint]], flops: float) -> Curve:
    reached = [trunk for trunk in trunks if trunk[0].flops / NEAR <= flops <= trunk[-1].flops * NEAR]
    return Curve(flops, [trunk[0].num_parameters for trunk in reached], [_loss_at(trunk, flops) for trunk in reached])


def _loss_at(trunk: Sequence[LawPoint], flops: float) -> float:
    """Linear in log FLOPs between the trunk's points, the nearest one's loss beyond them."""
    return float(np.interp(math.log(flops), [math.log(p.flops) for p in trunk], [p.loss for p in trunk]))
