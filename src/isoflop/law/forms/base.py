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
