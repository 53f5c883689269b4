"""Runs that bend the law: far outside the scatter of the others, and the fit moves when they go.

The five runs of highest loss in Hoffmann et al. 2022, Fig. 4 move the exponent of the best size from .51 to .56
(scaling.md sec. 4); a law should say so by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.core.products import StudyWarning
from isoflop.law.choose import Candidate
from isoflop.law.forms import Array
from isoflop.law.search import Optimum
from isoflop.law.table import Table

FAR = 12.0
"""Residuals beyond so many robust standard deviations (1.4826 median absolute deviations) from a fit without them are
suspects. It is drawn through the one published verdict: of Hoffmann's runs the fifth that Besiroglu et al. 2024 dropped
lies 12.1 off, the next, which they kept, 11.4."""
_ROUNDS = 5
MOST = 0.1
"""Share of the runs that may be suspects; more is a form that does not fit, not outliers."""
TOLD = 1.0
"""Move of a parameter, in its standard errors, from which suspects are named."""
_MAD = 1.4826


@dataclass(frozen=True)
class Leverage:
    """What a few runs do to a fit."""

    rows: list[str]
    with_them: dict[str, float]
    """Natural parameters of the fit to all runs, and"""
    without: dict[str, float]
    moves: dict[str, float]
    """Differences in standard errors."""

    def warning(self) -> StudyWarning:
        """Code ``outlier_leverage``."""
        name = max(self.moves, key=lambda parameter: self.moves[parameter])
        rows = ", ".join(self.rows[:8]) + (", …" if len(self.rows) > 8 else "")
        here, there = self.with_them[name], self.without[name]
        message = f"{len(self.rows)} runs far off the others ({rows}) decide: "
        message += f"without them {name} is {there:.4g} instead of {here:.4g}"
        return StudyWarning("outlier_leverage", message)


def leverage(table: Table, candidate: Candidate, standard_errors: Array) -> Leverage | None:
    """The runs that move a parameter by more than ``TOLD`` of its ``standard_errors`` [P, natural], if any do.

    Raises ``TableError`` where the runs cannot determine the form, with the suspects or without.
    """
    suspects = np.zeros(len(table.loss), dtype=bool)
    rest = optimum = candidate.fit(table)
    for _ in range(_ROUNDS):
        before, suspects = suspects, _far(table, rest, ~suspects)
        if not suspects.any() or suspects.mean() > MOST:
            return None
        if (suspects == before).all():
            break
        rest = candidate.fit(table.take(~suspects))
    here, there = optimum.natural(), rest.natural()
    errors = zip(here, standard_errors.tolist(), strict=True)
    free = {name: error for name, error in errors if name not in candidate.hold}
    moves = {name: abs(there[name] - here[name]) / max(error, 1e-300) for name, error in free.items()}
    rows = [name for name, suspect in zip(table.rows, suspects, strict=True) if suspect]
    return Leverage(rows, here, there, moves) if max(moves.values()) > TOLD else None


def _far(table: Table, fitted: Optimum, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n] whether a run lies ``FAR`` off a fit to the ``kept`` ones."""
    residuals = fitted.log_loss(table.places()) - np.log(table.loss)
    scale = _MAD * float(np.median(np.abs(residuals[kept] - np.median(residuals[kept]))))
    return np.asarray(np.abs(residuals) > FAR * scale)
