"""Several forms as one law: the mean of their logs, and the spread between them in its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from isoflop.core.products import StackReport, StudyWarning
from isoflop.law.forms import Array
from isoflop.law.optimum import Allocation, cheapest, for_flops, optimum
from isoflop.law.predict import Z90, Band, Law

REACH, NUM_SIZES = 100.0, 401
"""Best sizes of single draws are looked for within this factor of the law's, on a grid of 2 % steps."""
LONGEST, NUM_LENGTHS = 1e6, 4001
"""Smaller models are trained up to so many times the tokens, in steps of .4 %."""
DOUBLINGS = np.arange(-20, 31)
"""Of the FLOPs asked about, between which the point of diminishing returns is looked for."""


@dataclass(frozen=True)
class Stack:
    """What ``isoflop.fit`` returns. ``Stack.from_report(stack.report())`` equals it exactly."""

    _report: StackReport

    @staticmethod
    def from_report(report: StackReport) -> Stack:
        return Stack(report)

    def report(self) -> StackReport:
        return self._report

    @property
    def warnings(self) -> list[StudyWarning]:
        return self._report.warnings

    @cached_property
    def laws(self) -> list[Law]:
        """One a form and belief, the best extrapolating first."""
        return [Law.from_report(report) for report in self._report.laws]

    def loss(self, params: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike = math.inf) -> Array:
        """Expected loss, nats per token, in the broadcast shape of N, D and U."""
        logs = np.array([np.log(law.loss(params, tokens, unique_tokens)) for law in self.laws])
        result: Array = np.exp(np.tensordot(self._weights, logs, 1))
        return result

    def predict(self, params: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike = math.inf) -> Band:
        """Loss of one new run with its 90 % interval: the forms' own, averaged, and the spread between them."""
        bands = [law.predict(params, tokens, unique_tokens) for law in self.laws]
        central, low, high = (np.log([getattr(band, side) for band in bands]) for side in ("central", "low", "high"))
        middle = np.tensordot(self._weights, central, 1)
        between = Z90 * np.sqrt(np.tensordot(self._weights, (central - middle) ** 2, 1))
        below, above = (np.tensordot(self._weights, width, 1) for width in (central - low, high - central))
        return Band(
            central=np.exp(middle),
            low=np.exp(middle - np.hypot(below, between)),
            high=np.exp(middle + np.hypot(above, between)),
        )

    def optimum(
        self,
        flops: float | None = None,
        *,
        tokens_of: Callable[[Array], Array] | None = None,
        unique_tokens: float = math.inf,
        inference_tokens: float = 0.0,
    ) -> Allocation:
        """The best size for ``flops`` (6 N D), or under any other limit on the tokens that a size may train on.

        With ``inference_tokens`` it is the size that reaches the same loss with the fewest FLOPs of training and
        serving together. Raises ``ValueError`` unless one limit is given.
        """
        if (flops is None) == (tokens_of is None):
            raise ValueError("give either flops or tokens_of")

        def loss(params: Array, tokens: Array) -> Array:
            return self.loss(params, tokens, unique_tokens)

        best = optimum(loss, tokens_of or for_flops(float(flops or 0.0)))
        return cheapest(loss, best.loss, inference_tokens=inference_tokens)[0] if inference_tokens else best

    def draw_losses(self, params: ArrayLike, tokens: ArrayLike, unique_tokens: float = math.inf) -> Array:
        """[draws, n]: the loss under parameter draws, of each form as many as its weight says; infinite for none."""
        drawn = [law.draw_losses(params, tokens, unique_tokens) for law in self.laws]
        parts = [some[: max(1, round(share * len(some)))] for some, share in zip(drawn, self._weights, strict=True)]
        losses = np.concatenate(parts)
        result: Array = np.where(np.isfinite(losses), losses, np.inf)
        return result

    def best_sizes(self, about: float, tokens_of: Callable[[Array], Array], unique_tokens: float = math.inf) -> Array:
        """[draws]: the best size under every draw.

        Looked for within a factor of ``REACH`` of ``about``; a draw whose best lies beyond is told at the end.
        """
        sizes = np.geomspace(about / REACH, about * REACH, NUM_SIZES)
        losses = self.draw_losses(sizes, tokens_of(sizes), unique_tokens)
        result: Array = sizes[np.argmin(losses[np.isfinite(losses.min(axis=1))], axis=1)]
        return result

    def prices_of_smaller(self, best: Allocation, times: float, unique_tokens: float = math.inf) -> Array:
        """[draws]: FLOPs of a model ``times`` smaller than ``best`` that reaches its loss, over the FLOPs of ``best``.

        Infinite under draws by which it never does.
        """
        target = self.draw_losses([best.params], [best.tokens], unique_tokens)
        prices = np.geomspace(1 / times, LONGEST / times, NUM_LENGTHS)
        tokens = prices * times * best.tokens
        reached = self.draw_losses(np.full(NUM_LENGTHS, best.params / times), tokens, unique_tokens) <= target
        result: Array = np.where(reached.any(axis=1), prices[np.argmax(reached, axis=1)], np.inf)
        return result

    def diminishing_from(self, flops: float, gain: float, unique_tokens: float = math.inf) -> Array:
        """[draws]: the FLOPs from which doubling them lowers the loss by less than ``gain`` of it.

        The lowest loss is that of the best size, looked for about the law's own. Infinite where that lies beyond all
        ``DOUBLINGS`` of ``flops``.
        """
        costs = flops * 2.0**DOUBLINGS
        lowest = np.column_stack([self._lowest_losses(float(cost), unique_tokens) for cost in costs])
        gained = 1 - lowest[:, 1:] / lowest[:, :-1]
        return np.array([_falls_below(each, gain, np.log(costs[:-1])) for each in gained])

    def _lowest_losses(self, flops: float, unique_tokens: float) -> Array:
        """[draws]: at the best size for ``flops``."""
        about = self.optimum(flops, unique_tokens=unique_tokens).params
        sizes = np.geomspace(about / REACH, about * REACH, NUM_SIZES // 4)
        result: Array = self.draw_losses(sizes, for_flops(flops)(sizes), unique_tokens).min(axis=1)
        return result

    def warnings_for(self, params: float, tokens: float, unique_tokens: float = math.inf) -> list[StudyWarning]:
        """What to know before trusting the prediction of one run."""
        return self.laws[0].warnings_for(params, tokens, unique_tokens)

    @cached_property
    def _weights(self) -> Array:
        return np.array(self._report.weights)


def _falls_below(values: Array, limit: float, log_places: Array) -> float:
    """Where ``values`` first fall below ``limit``, linear between the logs of their places; infinite for nowhere."""
    below = np.flatnonzero(values < limit)
    if not below.size:
        return math.inf
    i = int(below[0])
    if i == 0:
        return math.exp(log_places[0])
    share = (values[i - 1] - limit) / (values[i - 1] - values[i])
    return math.exp(log_places[i - 1] + share * (log_places[i] - log_places[i - 1]))
