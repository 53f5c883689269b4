"""The findings as sentences; the page and the terminal tell the same story."""

from __future__ import annotations

import math
from itertools import pairwise

from isoflop.core.products import Plan
from isoflop.report.numbers import bits, compact, signed_percent
from isoflop.report.view import Purchase, Study


def headline_sentence(study: Study) -> str:
    """One sentence: what the budget bought, or how far it got."""
    plan, score = study.plan, study.scored
    if plan is None:
        return f"{study.budget} is not spent yet: the plan is still to come."
    size = compact(plan.num_parameters.all)
    promise = plan.forecast.bits_per_byte
    told = f"{bits(promise.central)} [{bits(promise.low)}, {bits(promise.high)}]"
    if score is None:
        return (
            f"{study.budget} should buy a {size}-parameter model; predicted {told} bits per byte on unseen documents."
        )
    return (
        f"{study.budget} bought a {size}-parameter model with {bits(score.bits_per_byte)} bits per byte"
        f" on unseen documents; predicted {told}."
    )


def diminishing_returns(purchases: list[Purchase]) -> str:
    """What more budget buys per doubling, in a sentence; empty without a larger budget to compare with."""
    here = next(i for i, purchase in enumerate(purchases) if purchase.factor == 1)
    more = purchases[here:]
    if len(more) < 2:
        return ""
    told = [
        f"{b.factor:.3g}× the budget would buy {bits(b.bits_per_byte.central)} bits per byte"
        f" ({signed_percent(b.bits_per_byte.central / more[0].bits_per_byte.central - 1)})"
        for b in more[1:]
    ]
    gains = [_gain_per_doubling(a, b) for a, b in pairwise(more)]
    trend = f"A doubling is worth {bits(gains[0])} bits per byte now"
    trend += f" and {bits(gains[-1])} near {more[-1].factor:.3g}×." if len(gains) > 1 else "."
    half_width = (more[-1].bits_per_byte.high - more[-1].bits_per_byte.low) / 2
    return f"{'; '.join(told)}. {trend} The last of these forecasts is uncertain by ±{bits(half_width)}."


def _gain_per_doubling(a: Purchase, b: Purchase) -> float:
    return (a.bits_per_byte.central - b.bits_per_byte.central) / math.log2(b.factor / a.factor)


def size_finding(chosen: Plan, *, within: float = 0.01) -> str:
    """Why this size: how flat the candidates' curve is around it (sizes ``within`` bits per byte of the best)."""
    fitting = [c for c in chosen.candidates if c.fits_memory]
    size = f"{compact(chosen.num_parameters.matmul)} matmul parameters"
    if not fitting:
        return size
    best = min(c.bits_per_byte.central for c in fitting)
    near = [c.num_parameters.matmul for c in fitting if c.bits_per_byte.central <= best + within]
    finding = f"{size}; {compact(min(near))} to {compact(max(near))} come within {within} bits per byte of the best"
    too_large = len(chosen.candidates) - len(fitting)
    return finding + (f"; {too_large} larger do not fit in memory" if too_large else "")
