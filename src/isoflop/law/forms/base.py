"""What a form of the scaling law is: a loss as a function of columns such as N and D, with a few parameters.

A form works on ``theta``, its parameters as the solver moves them: positive ones stand in it as logarithms. It sees
columns in units near their geometric means, so that the parameters of a power law are hardly correlated (centring
takes away the ridge between A and alpha); `Form.rescaled` leads from theta in one unit to theta in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
"""Positive values [points] by the name of their column."""

PARAMS, TOKENS, UNIQUE = "params", "tokens", "unique_tokens"
VOCABULARY, LEARNING_RATE, BATCH = "vocabulary", "learning_rate", "batch"
LEAST_SPREAD = 0.3
"""Of a parameter that all starts share."""
_DIFFERENCE = 1e-5


class Form(ABC):
    """A form. Shapes: theta [..., P], columns [n], losses [..., n]."""

    name: str
    parameters: tuple[str, ...]
    logarithmic: frozenset[str]
    """The parameters that are positive and stand in theta as logarithms."""
    columns: tuple[str, ...] = (PARAMS, TOKENS)
    centred: tuple[str, ...] = (PARAMS, TOKENS)
    """The columns it wants in units near their geometric means; U goes by the unit of D."""

    @property
    def must_be_told(self) -> tuple[str, ...]:
        """Columns beside N, D and U without which it has no loss."""
        return tuple(name for name in self.columns if name not in (PARAMS, TOKENS, UNIQUE))

    @abstractmethod
    def log_loss(self, theta: Array, at: Columns) -> Array:
        """Log of the loss in nats per token, [..., n]; NaN or infinite where theta makes no sense."""

    @abstractmethod
    def starts(self, at: Columns, loss: Array) -> Array:
        """Where to begin a search, [S, P]; columns in units near their geometric means."""

    @abstractmethod
    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        """theta for columns in ones, from theta for columns in ``units``."""

    def slopes(self, theta: Array, at: Columns) -> Array:
        """Derivatives of the log loss by theta, [..., P, n]; by central differences where a form has no better way."""
        step = np.eye(len(self.parameters)) * _DIFFERENCE
        above, below = (self.log_loss(theta[..., None, :] + sign * step, at) for sign in (1, -1))
        result: Array = (above - below) / (2 * _DIFFERENCE)
        return result

    def units(self, columns: Columns) -> dict[str, float]:
        """Geometric means of the columns that it wants centred, 1 for others; U goes by the unit of D."""
        means = {name: float(np.exp(np.log(columns[name]).mean())) for name in self.centred}
        result = {name: means.get(name, 1.0) for name in self.columns}
        return result | ({UNIQUE: result[TOKENS]} if UNIQUE in result else {})

    def spread(self, starts: Array) -> Array:
        """How far theta may be from the mean of its ``starts`` [S, P] before any run is done, [P]: an sd."""
        result: Array = np.maximum(starts.std(axis=0), LEAST_SPREAD)
        return result

    def loss(self, theta: Array, at: Columns) -> Array:
        """Nats per token, [..., n]."""
        result: Array = np.exp(self.log_loss(theta, at))
        return result

    def natural(self, theta: Array) -> Array:
        """The parameters as people write them, [..., P]."""
        result: Array = np.where(self._mask, np.exp(np.where(self._mask, theta, 0.0)), theta)
        return result

    def theta_of(self, natural: Array) -> Array:
        """The inverse of `natural`."""
        result: Array = np.where(self._mask, np.log(np.where(self._mask, natural, 1.0)), natural)
        return result

    def index(self, parameter: str) -> int:
        """Where a parameter stands in theta."""
        return self.parameters.index(parameter)

    @cached_property
    def _mask(self) -> NDArray[np.bool_]:
        return np.array([name in self.logarithmic for name in self.parameters])


def split(theta: Array) -> list[Array]:
    """The parameters of theta [..., P], each [..., 1], ready to meet columns [n]."""
    return list(np.moveaxis(theta, -1, 0)[..., None])
