"""Over-training: loss = E + (a M^eta + b M^-eta) C^-eta at M = D / N tokens a parameter and C = 6 N D FLOPs.

Gadre et al. 2024, arXiv 2403.08540, eq. 4.

With C and M written out that is Chinchilla of equal exponents, E + A / N^(2 eta) + B / D^(2 eta): along any fixed M the
loss falls with the same power of C. One parameter fewer, for few runs and long extrapolation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import Array, Columns, Form
from isoflop.law.forms.chinchilla import Chinchilla, power_starts

_PLAIN = Chinchilla()


class Overtrained(Form):
    """Four parameters; alpha = 2 eta is the exponent of N and of D."""

    name = "overtrained"
    parameters = ("E", "A", "B", "alpha")
    logarithmic = frozenset({"E", "A", "B"})

    def log_loss(self, theta: Array, at: Columns) -> Array:
        return _PLAIN.log_loss(_doubled(theta), at)

    def slopes(self, theta: Array, at: Columns) -> Array:
        full = _PLAIN.slopes(_doubled(theta), at)
        return np.concatenate([full[..., :3, :], full[..., 3:4, :] + full[..., 4:5, :]], axis=-2)

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss)
        return plain[plain[:, 3] == plain[:, 4], :4]

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return _PLAIN.rescaled(_doubled(theta), units)[..., :4]


def _doubled(theta: Array) -> Array:
    """With the exponent of N as that of D."""
    return np.concatenate([theta, theta[..., 3:4]], axis=-1)
