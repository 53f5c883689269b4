"""A fitted law at work: losses with their intervals, and what to know before trusting them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from isoflop.core.errors import TableError
from isoflop.core.products import Interval, LawReport, StudyWarning
from isoflop.law import prior as trust
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, Array, Form, form_of

Z90 = 1.6448536269514722
"""Standard normal quantile at 95 %."""

FAR = 30.0
"""Extrapolation beyond this multiple of the costliest point's FLOPs carries a warning."""


@dataclass(frozen=True)
class Band:
    """90 % intervals of losses, nats per token; three arrays of one shape."""

    central: Array
    low: Array
    high: Array

    def interval(self, *index: int) -> Interval:
        """The interval at ``index``; without one, of a scalar prediction."""
        return Interval(float(self.central[index]), float(self.low[index]), float(self.high[index]))


@dataclass(frozen=True)
class Law:
    """A fitted law. All there is to it stands in its report, so ``Law.from_report(law.report())`` equals it exactly.

    N counts matmul parameters, D tokens trained, U unique tokens available (``inf`` for data that never repeats);
    they may be scalars or arrays that broadcast. Losses are nats per token. Forms that depend on more (bits, a
    vocabulary) raise ``TableError`` when asked for a loss.
    """

    _report: LawReport

    @staticmethod
    def from_report(report: LawReport) -> Law:
        return Law(report)

    def report(self) -> LawReport:
        return self._report

    def loss(self, num_parameters: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike) -> Array:
        """Most probable loss, in the broadcast shape of N, D and U."""
        return self._evaluate(self._theta, num_parameters, tokens, unique_tokens)

    def draw_losses(self, num_parameters: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike) -> Array:
        """[num_draws, ...]: the loss under every parameter draw; spread of the law alone, without a run's own noise."""
        return self._evaluate(self._theta_draws, num_parameters, tokens, unique_tokens)

    def predict(
        self,
        num_parameters: ArrayLike,
        tokens: ArrayLike,
        unique_tokens: ArrayLike,
        *,
        discrepancy_per_efold: float = trust.DISCREPANCY_PER_EFOLD,
    ) -> Band:
        """Loss of one new run with its 90 % interval.

        Three spreads of the log loss add in quadrature on each side: the draws' distance from the central value to
        their 5 % and 95 % quantiles, one run's scatter about the law, and the form's own discrepancy, which grows by
        ``discrepancy_per_efold`` (relative) with every e-fold of N D beyond the costliest point.
        """
        central = np.log(self.loss(num_parameters, tokens, unique_tokens))
        low, high = np.quantile(np.log(self.draw_losses(num_parameters, tokens, unique_tokens)), [0.05, 0.95], axis=0)
        discrepancy = discrepancy_per_efold * np.maximum(np.log(self.extrapolation(num_parameters, tokens)), 0.0)
        spread = Z90 * np.hypot(self.run_sd, discrepancy)
        return Band(
            central=np.exp(central),
            low=np.exp(central - np.hypot(np.maximum(central - low, 0.0), spread)),
            high=np.exp(central + np.hypot(np.maximum(high - central, 0.0), spread)),
        )

    def extrapolation(self, num_parameters: ArrayLike, tokens: ArrayLike) -> Array:
        """N D over that of the costliest point."""
        costliest = max(point.num_parameters * point.tokens for point in self._report.points)
        result: Array = np.asarray(num_parameters, dtype=float) * np.asarray(tokens, dtype=float) / costliest
        return result

    def warnings_for(self, num_parameters: float, tokens: float, unique_tokens: float = math.inf) -> list[StudyWarning]:
        """What to know before trusting the prediction of one run."""
        warnings = []
        ratio = float(self.extrapolation(num_parameters, tokens))
        if ratio > FAR:
            message = (
                f"the run costs {ratio:.0f} times the costliest pilot; forecasts beyond {FAR:.0f} times are guesses"
            )
            warnings.append(StudyWarning("extrapolation_far", message))
        if unique_tokens < tokens and all(point.tokens <= point.unique_tokens for point in self._report.points):
            message = f"the run repeats its data {tokens / unique_tokens:.1f} times; no pilot did, so the prior decides"
            warnings.append(StudyWarning("repetition_unmeasured", message))
        return warnings

    @cached_property
    def run_sd(self) -> float:
        """Sd of one run's log loss about the law: the residuals', or the pilots' noise and least misfit if larger."""
        noise = float(np.median([point.noise / point.loss for point in self._report.points]))
        return max(self._report.residual_sd, math.hypot(noise, trust.MODEL_SD))

    @cached_property
    def _form(self) -> Form:
        return form_of(self._report.form)

    @cached_property
    def _theta(self) -> Array:
        return self._form.theta_of(np.array([self._report.parameters[name] for name in self._form.parameters]))

    @cached_property
    def _theta_draws(self) -> Array:
        return self._form.theta_of(np.array(self._report.draws))

    def _evaluate(self, theta: Array, *where: ArrayLike) -> Array:
        if self._form.must_be_told:
            more = ", ".join(self._form.must_be_told)
            raise TableError(f"{self._form.name} cannot forecast from N and D alone: it also depends on {more}")
        arrays = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in where))
        at = {name: array.ravel() for name, array in zip((PARAMS, TOKENS, UNIQUE), arrays, strict=True)}
        return self._form.loss(theta, at).reshape(theta.shape[:-1] + arrays[0].shape)
