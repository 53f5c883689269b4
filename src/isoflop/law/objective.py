"""What a residual costs: log predicted less log measured, in units of its sd or as it is.

Each cost has its value, its slope psi, the curvature of the parabola that touches it from above (psi / r: iteratively
reweighted least squares, Holland & Welsch 1977), and its own curvature, which makes Newton's steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isoflop.law.forms import Array

HOFFMANN_DELTA = 1e-3


class Cost(Protocol):
    """Elementwise functions of residuals of any shape."""

    def value(self, residuals: Array) -> Array: ...

    def psi(self, residuals: Array) -> Array: ...

    def weight(self, residuals: Array) -> Array:
        """psi(r) / r."""
        ...

    def curvature(self, residuals: Array) -> Array:
        """psi'(r), not below zero."""
        ...


@dataclass(frozen=True)
class Huber:
    """r^2 / 2 up to delta, delta (|r| - delta / 2) beyond (Huber 1964); delta = inf is least squares."""

    delta: float = HOFFMANN_DELTA

    def value(self, residuals: Array) -> Array:
        size = np.abs(residuals)
        near = np.minimum(size, self.delta)
        result: Array = near * (size - 0.5 * near)
        return result

    def psi(self, residuals: Array) -> Array:
        result: Array = np.clip(residuals, -self.delta, self.delta)
        return result

    def weight(self, residuals: Array) -> Array:
        if self.delta == np.inf:
            return np.ones_like(residuals)
        result: Array = self.delta / np.maximum(np.abs(residuals), self.delta)
        return result

    def curvature(self, residuals: Array) -> Array:
        result: Array = (np.abs(residuals) <= self.delta).astype(float)
        return result


@dataclass(frozen=True)
class StudentT:
    """Negative log density of Student's t, up to a constant: outliers end by pulling less, not only no more."""

    scale: float
    dof: float = 4.0

    def value(self, residuals: Array) -> Array:
        result: Array = 0.5 * (self.dof + 1) * np.log1p(residuals**2 / self._spread)
        return result

    def psi(self, residuals: Array) -> Array:
        result: Array = (self.dof + 1) * residuals / (self._spread + residuals**2)
        return result

    def weight(self, residuals: Array) -> Array:
        result: Array = (self.dof + 1) / (self._spread + residuals**2)
        return result

    def curvature(self, residuals: Array) -> Array:
        squares = residuals**2
        result: Array = np.maximum((self.dof + 1) * (self._spread - squares) / (self._spread + squares) ** 2, 0.0)
        return result

    @property
    def _spread(self) -> float:
        return self.dof * self.scale**2
