"""What a law says to do: the best size under a constraint, and what straying from it costs.

A constraint is the number of tokens that a size may train on: C / 6N for FLOPs, seconds times the measured tokens/s
for time, and dollars, kWh or CO2e once they are converted to seconds. Nothing here knows which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoflop.core.errors import TableError
from isoflop.law.forms import Array
from isoflop.law.table import FLOPS_PER_PARAMETER_TOKEN

Loss = Callable[[Array, Array], Array]
"""Nats per token of sizes and tokens, [n] each."""
Tokens = Callable[[Array], Array]
"""Tokens that each size may train on, [n]."""

FLOPS_PER_INFERENCE = 2.0
"""FLOPs a parameter and token of a forward pass."""
SMALLEST, LARGEST = 1e2, 1e18
"""Sizes considered."""
_COARSE, _ROUNDS, _FINE = 400, 6, 41


@dataclass(frozen=True)
class Allocation:
    """A size, the tokens it trains on, and the loss they reach."""

    params: float
    tokens: float
    loss: float


def for_flops(flops: float) -> Tokens:
    """C = 6 N D (Kaplan et al. 2020)."""
    return lambda params: flops / FLOPS_PER_PARAMETER_TOKEN / params


def optimum(loss: Loss, tokens_of: Tokens, *, smallest: float = SMALLEST, largest: float = LARGEST) -> Allocation:
    """The size of least loss; a grid in log N, refined about its best six times (to 1e-7 of N and better)."""

    def reached(params: Array) -> Array:
        tokens = tokens_of(params)
        with np.errstate(all="ignore"):
            found = np.where(tokens > 0, loss(params, np.maximum(tokens, 1e-300)), np.inf)
        return np.where(np.isfinite(found), found, np.inf)

    params = _least(reached, smallest, largest)
    size = np.array([params])
    return Allocation(params, float(tokens_of(size)[0]), float(reached(size)[0]))


def cheapest(
    loss: Loss, target: float, *, inference_tokens: float = 0.0, smallest: float = SMALLEST, largest: float = LARGEST
) -> tuple[Allocation, float]:
    """The size that reaches a loss with the fewest FLOPs of training and of ``inference_tokens``, and these FLOPs.

    6 N D + 2 N D_inference with D from loss(N, D) = target (Sardana et al. 2024, arXiv 2401.00448, eq. 2). Raises
    ``TableError`` where no size reaches the target.
    """

    def flops(params: Array) -> Array:
        tokens = tokens_for(loss, params, target)
        return FLOPS_PER_PARAMETER_TOKEN * params * tokens + FLOPS_PER_INFERENCE * params * inference_tokens

    params = _least(flops, smallest, largest)
    size = np.array([params])
    spent = float(flops(size)[0])
    if not np.isfinite(spent):
        raise TableError(f"no size reaches a loss of {target:.4g}: it lies at or below the law's floor")
    return Allocation(params, float(tokens_for(loss, size, target)[0]), target), spent


def tokens_for(loss: Loss, params: Array, target: float) -> Array:
    """Tokens [n] at which sizes [n] reach a loss; infinite where they never do (beyond 1e24)."""
    low, high = np.full(params.shape, np.log(1.0)), np.full(params.shape, np.log(1e24))
    never = ~(loss(params, np.exp(high)) <= target)
    for _ in range(80):
        middle = 0.5 * (low + high)
        enough = loss(params, np.exp(middle)) <= target
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(never, np.inf, np.exp(high))


def price_of_smaller(loss: Loss, flops: float, times: float) -> float:
    """FLOPs of a model ``times`` smaller than the best for ``flops``, trained to the same loss, over ``flops``."""
    best = optimum(loss, for_flops(flops))
    params = np.array([best.params / times])
    return float(FLOPS_PER_PARAMETER_TOKEN * params[0] * tokens_for(loss, params, best.loss)[0] / flops)


def diminishing(loss: Loss, *, gain: float = 0.01, cheapest_flops: float, dearest_flops: float) -> float:
    """The FLOPs from which doubling them lowers the loss by less than ``gain`` of it; bisected between the two."""

    def gained(flops: float) -> float:
        once, twice = (optimum(loss, for_flops(factor * flops)).loss for factor in (1.0, 2.0))
        return 1 - twice / once

    low, high = np.log(cheapest_flops), np.log(dearest_flops)
    if gained(cheapest_flops) < gain:
        return cheapest_flops
    if gained(dearest_flops) >= gain:
        return float("inf")
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gained(float(np.exp(middle))) >= gain else (low, middle)
    return float(np.exp(high))


def _least(value: Callable[[Array], Array], smallest: float, largest: float) -> float:
    """Where a function of sizes is least; ends at a bound where it falls all the way."""
    low, high, num = np.log(smallest), np.log(largest), _COARSE
    for _ in range(_ROUNDS):
        places = np.linspace(low, high, num)
        best = int(np.argmin(value(np.exp(places))))
        low, high = places[max(best - 1, 0)], places[min(best + 1, num - 1)]
        num = _FINE
    return float(np.exp(0.5 * (low + high)))
