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

    def best_sizes(self, about: float, tokens_of: Callable[[Array], Array], unique_tokens: float = math.inf) -> Array:
        """[draws]: the best size under every parameter draw, of each form as often as its weight says.

        Looked for within a factor of ``REACH`` of ``about``; a draw whose best lies beyond is told at the end.
        """
        sizes = np.geomspace(about / REACH, about * REACH, NUM_SIZES)
        tokens, found = tokens_of(sizes), []
        for law, weight in zip(self.laws, self._weights, strict=True):
            losses = law.draw_losses(sizes, tokens, unique_tokens)
            losses = np.where(np.isfinite(losses), losses, np.inf)
            losses = losses[np.isfinite(losses.min(axis=1))]
            found.append(sizes[np.argmin(losses[: max(1, round(weight * len(losses)))], axis=1)])
        return np.concatenate(found)

    def warnings_for(self, params: float, tokens: float, unique_tokens: float = math.inf) -> list[StudyWarning]:
        """What to know before trusting the prediction of one run."""
        return self.laws[0].warnings_for(params, tokens, unique_tokens)

    @cached_property
    def _weights(self) -> Array:
        return np.array(self._report.weights)
