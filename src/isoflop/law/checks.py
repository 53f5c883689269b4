"""What to know before believing a law fitted to a table: typed warnings with stable codes.

``too_few_sizes``, ``edge_minimum``, ``off_centre``, ``too_few_steps``, ``tokens_beyond_unique``, ``unidentified``,
``below_floor``, ``not_converged`` and ``counting_disagrees`` are told here; ``outlier_leverage`` by `leverage`,
``extrapolation_far`` and ``repetition_unmeasured`` by a law asked about one run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoflop.core.products import LawReport, StudyWarning
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.isoflop import EdgeMinimum, best_per_size, isoflop_groups, isoflop_minimum
from isoflop.law.table import COUNTS, STEPS, Table

MIN_SIZES = 3
MIN_STEPS = 1000
"""Runs of fewer steps have hardly left their warmup (scaling.md sec. 6)."""
OFF_CENTRE = 3.0
"""A minimum this factor from the middle of its group's sizes bends approach 2 (Open-Athena, arXiv 2603.22339)."""
DISAGREES = 0.05
"""Difference of two conventions' exponents that is told."""


def table_warnings(table: Table) -> list[StudyWarning]:
    """What the runs alone tell."""
    return [*_sizes(table), *_edges(table), *_steps(table), *_repeats(table), *_conventions(table)]


def fit_warnings(table: Table, laws: Sequence[LawReport]) -> list[StudyWarning]:
    """What the fits tell, each once with the forms it concerns."""
    found = []
    for law in laws:
        below = np.flatnonzero(table.loss < law.parameters.get("E", 0.0))
        if below.size:
            message = f"{table.rows[below[0]]}: loss {table.loss[below[0]]:.4g} lies below the floor of {law.form}, "
            message += f"{law.parameters['E']:.4g}: is it in another unit (bits, or per byte) or of another text?"
            found.append(StudyWarning("below_floor", message))
        certificate = law.certificate
        if law.prior_dominated:
            message = f"the runs do not identify {', '.join(law.prior_dominated)} of {law.form}"
            found.append(StudyWarning("unidentified", message))
        if certificate and not certificate.converged:
            message = (
                f"the fit of {law.form} stopped short of its optimum (condition {certificate.condition_number:.1g})"
            )
            found.append(StudyWarning("not_converged", message))
    return found


def _sizes(table: Table) -> list[StudyWarning]:
    num_sizes = len(np.unique(table.columns[PARAMS]))
    if num_sizes >= MIN_SIZES:
        return []
    return [
        StudyWarning("too_few_sizes", f"the runs have {num_sizes} distinct sizes; a law in N needs {MIN_SIZES} or more")
    ]


def _edges(table: Table) -> list[StudyWarning]:
    """Groups of equal FLOPs whose best size is at their edge, or far from their middle."""
    edges, off_centre = [], []
    for flops, group in isoflop_groups(table).items():
        sizes, losses = best_per_size(group)
        if len(sizes) < MIN_SIZES:
            continue
        bottom = isoflop_minimum(sizes, losses)
        if isinstance(bottom, EdgeMinimum):
            edges.append((flops, bottom))
        elif abs(np.log(bottom / np.sqrt(sizes[0] * sizes[-1]))) > np.log(OFF_CENTRE):
            off_centre.append((flops, bottom))
    found = []
    if edges:
        where = ", ".join(f"{flops:.3g} FLOPs ({edge.side} size, {edge.size:.3g})" for flops, edge in edges[:4])
        message = f"{len(edges)} groups of equal FLOPs do not enclose their best size: {where}; add sizes beyond it"
        found.append(StudyWarning("edge_minimum", message))
    if off_centre:
        where = ", ".join(f"{flops:.3g} FLOPs (best {size:.3g})" for flops, size in off_centre[:4])
        message = (
            f"{len(off_centre)} groups of equal FLOPs have their best size far from their middle: {where}; recentre"
        )
        found.append(StudyWarning("off_centre", message))
    return found


def _steps(table: Table) -> list[StudyWarning]:
    steps = table.columns.get(STEPS)
    if steps is None or steps.min() >= MIN_STEPS:
        return []
    few = int(np.sum(steps < MIN_STEPS))
    return [StudyWarning("too_few_steps", f"{few} runs have fewer than {MIN_STEPS:,} steps: warmup decides their loss")]


def _repeats(table: Table) -> list[StudyWarning]:
    beyond = int(np.sum(table.columns[TOKENS] > 1.01 * table.places()[UNIQUE]))
    if not beyond:
        return []
    message = f"{beyond} runs repeat their tokens: only forms that know of unique tokens are right for them"
    return [StudyWarning("tokens_beyond_unique", message)]


def _conventions(table: Table) -> list[StudyWarning]:
    """Whether another way of counting parameters bends log N by more than a constant (nanochat: .37, .54 or .70)."""
    plain = np.log(table.columns[PARAMS])
    if np.ptp(plain) == 0:
        return []
    found = []
    for name in COUNTS[1:]:
        if name in table.columns:
            slope = float(np.polyfit(plain, np.log(table.columns[name]), 1)[0])
            if abs(slope - 1) > DISAGREES:
                message = f"counting {name} instead of params changes exponents in N by a factor of {1 / slope:.2f}"
                found.append(StudyWarning("counting_disagrees", message))
    return found
