"""Which parameters the runs decide, by how far the refits of resampled runs agree."""

from __future__ import annotations

import numpy as np

from isoflop.law.forms import Array, Form
from isoflop.law.prior import IDENTIFIED_BELOW

WIDE = np.log(10.0)
"""A positive parameter whose 90 % interval spans more than a factor of ten is not identified,"""
LOOSE = 1.5
"""nor is an exponent whose 90 % interval is wider than so many times its median."""


def unidentified(form: Form, draws: Array) -> list[str]:
    """Names of the parameters that natural ``draws`` [K, P] leave open; one that is no number anywhere is open too."""
    open_ones = []
    for name, values in zip(form.parameters, draws.T, strict=True):
        finite = np.isfinite(values)
        low, median, high = np.quantile(np.where(finite, values, np.inf), [0.05, 0.5, 0.95], method="nearest")
        if name in form.logarithmic:
            tight = low > 0 and high < np.inf and np.log(high / low) < WIDE
        else:
            tight = high < np.inf and high - low < LOOSE * abs(median)
        if not tight:
            open_ones.append(name)
    return open_ones


def prior_decides(form: Form, thetas: Array, prior_sd: Array) -> list[str]:
    """Names of the parameters whose spread among ``thetas`` [K, P] is hardly less than before any run."""
    shares = thetas.std(axis=0, ddof=1) / prior_sd
    return [name for name, share in zip(form.parameters, shares, strict=True) if share > IDENTIFIED_BELOW]
