"""A law learnt run by run: of the runs that could be done, those that tell most about the target for what they cost.

The first runs are spread over the cheap end of the pool. From then on every form that may hold is kept as an ensemble
of fits; together they say how each runnable run and the target go together (`design`), and the next batch is chosen
greedily. Batches grow with what is known, so that refits are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isoflop.core.errors import TableError
from isoflop.law.belief import OPEN, falling
from isoflop.law.choose import Candidate, scores, weights
from isoflop.law.design import conditioned, next_run
from isoflop.law.ensemble import Ensemble, members_of
from isoflop.law.forms import UNIQUE, Array, Columns, Form
from isoflop.law.table import FLOPS, LOSS, Table

NUM_MEMBERS = 96
FIRST_SHARE = 0.5
"""Of the first budget, for runs that are spread out rather than chosen."""
BATCH_SHARE = 0.25
"""Of the runs done, chosen at a time."""
ORIGIN = 0.7
"""Share of the runs, cheapest first, from which a form must forecast the others to earn its weight."""


@dataclass(frozen=True)
class Forecast:
    """Losses at the targets [n] with their relative sd: of the members, and between the forms."""

    loss: Array
    sd: Array


@dataclass
class Explorer:
    """``pool`` and ``targets`` are columns of runs that can be done and that are asked about; ``costs`` [pool].

    Ask for runs, do them, tell their losses, until nothing more is asked for; then the forecast stands.
    """

    forms: Sequence[Form]
    pool: Columns
    costs: Array
    targets: Columns
    seed: int = 0
    enough: float = 0.0
    """Relative sd at every target from which on nothing more is asked for."""
    done: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ``TableError`` where a form needs a column that pool or targets lack."""
        self.pool, self.targets = (_completed(columns, self.forms) for columns in (self.pool, self.targets))
        self._rng = np.random.default_rng(self.seed)
        self._units = [form.units(self.pool) for form in self.forms]

    @property
    def spent(self) -> float:
        return float(self.costs[self.done].sum())

    def tell(self, run: int, loss: float) -> None:
        """What a run of the pool came out at, nats per token."""
        self.done.append(run)
        self.losses.append(loss)

    def ask(self, budget: float) -> list[int]:
        """The runs to do next within a budget for all runs; none when no other can be afforded, or is needed."""
        left = budget - self.spent
        if not self._affordable(left).any():
            return []
        first = self._num_first()
        if len(self.done) < first:
            return self._spread_out(first - len(self.done), left)
        return self.most_telling(max(1, round(BATCH_SHARE * len(self.done))), left)

    def ensembles(self) -> tuple[list[Ensemble], Array]:
        """The forms' ensembles and weights. Units are the pool's, so that no prior wanders with the runs done.

        Raises ``TableError`` before any run is told.
        """
        if not self.done:
            raise TableError("no run was done yet", remedy="Ask for runs, do them, and tell their losses")
        table, found, scored = self._table(), [], []
        for form, units in zip(self.forms, self._units, strict=True):
            candidate = Candidate(form, OPEN)
            best = candidate.fit(table, units=units)
            found.append(Ensemble(best, members_of(best, num_members=NUM_MEMBERS, rng=self._rng)))
            scored += scores(table, [candidate], units=units, origins=(ORIGIN,)) if len(self.forms) > 1 else []
        told = [score for score in scored if np.isfinite(score.error)]
        return found, weights(scored) if told and len(told) == len(found) else np.full(len(found), 1 / len(found))

    def forecast(self) -> Forecast:
        """Of all that was told so far."""
        members, shares = self.ensembles()
        logs = np.array([each.best.log_loss(self.targets) for each in members])
        middle = shares @ logs
        within = np.array([_finite(each.log_losses(self.targets)).var(axis=0) for each in members])
        return Forecast(np.exp(middle), np.sqrt(shares @ (within + (logs - middle) ** 2)))

    def _num_first(self) -> int:
        return 2 + max(len(form.parameters) for form in self.forms)

    def _affordable(self, left: float) -> NDArray[np.bool_]:
        result: NDArray[np.bool_] = self.costs <= left
        result[self.done] = False
        return result

    def _table(self) -> Table:
        done = np.array(self.done)
        columns = {name: values[done] for name, values in self.pool.items()}
        rows = [f"run {i}" for i in self.done]
        return Table(columns | {LOSS: np.array(self.losses), FLOPS: self.costs[done]}, rows)

    def _spread_out(self, count: int, left: float) -> list[int]:
        """Farthest from all chosen in the logs of the columns, among runs of which ``count`` can be afforded."""
        finite = [np.log(values) for values in self.pool.values() if np.isfinite(values).all()]
        places = np.column_stack([(logs - logs.mean()) / max(float(logs.std()), 1e-12) for logs in finite])
        open_ones = np.flatnonzero(self._affordable(FIRST_SHARE * left / count))
        if len(open_ones) < count:
            affordable = np.flatnonzero(self._affordable(left))
            open_ones = affordable[np.argsort(self.costs[affordable], kind="stable")[:count]]
        chosen = list(self.done) or [int(self._rng.choice(open_ones))]
        fresh = [] if self.done else list(chosen)
        while len(fresh) < min(count, len(open_ones)):
            gaps = np.linalg.norm(places[open_ones, None] - places[chosen], axis=-1).min(axis=1)
            gaps[np.isin(open_ones, chosen)] = -1.0
            chosen.append(int(open_ones[np.argmax(gaps)]))
            fresh.append(chosen[-1])
        return self._within(fresh, left)

    def most_telling(self, count: int, left: float) -> list[int]:
        """Up to ``count`` runs of at most that cost together, the most telling for it first."""
        members, shares = self.ensembles()
        pool, targets = self._draws(members, shares)
        if targets.std(axis=0).max() < self.enough:
            return []
        least = float(shares @ [each.noise for each in members])
        noise = least * falling(self.costs, float(self.costs[self.done].max()), OPEN.doubt_per_efold)
        chosen: list[int] = []
        for _ in range(count):
            affordable = self._affordable(left - float(self.costs[chosen].sum()))
            affordable[chosen] = False
            run = next_run(pool, targets, self.costs, noise=noise, affordable=affordable)
            if run is None:
                break
            chosen.append(run)
            pool, targets = conditioned(pool, targets, run, float(noise[run]), self._rng)
        return chosen

    def _draws(self, members: Sequence[Ensemble], shares: Array) -> tuple[Array, Array]:
        """Log losses [K, pool] and [K, targets] of draws from all ensembles by their shares."""
        counts = self._rng.multinomial(NUM_MEMBERS, shares)
        drawn = [
            (each.best, self._rng.permutation(each.members)[:count])
            for each, count in zip(members, counts, strict=True)
        ]
        pool, targets = (
            np.concatenate([best.log_loss(where, thetas) for best, thetas in drawn])
            for where in (self.pool, self.targets)
        )
        sane = np.isfinite(pool).all(axis=1) & np.isfinite(targets).all(axis=1)
        return pool[sane], targets[sane]

    def _within(self, runs: list[int], left: float) -> list[int]:
        """As many of ``runs``, in order, as can be afforded."""
        affordable = np.cumsum(self.costs[runs]) <= left
        return [run for run, fits in zip(runs, affordable, strict=True) if fits]


def _completed(columns: Columns, forms: Sequence[Form]) -> dict[str, Array]:
    """What the forms need; unique tokens are unlimited where nothing is said of them."""
    some = next(iter(columns.values()))
    known = {UNIQUE: np.full(len(some), np.inf), **columns}
    needed = {name: form for form in forms for name in form.columns}
    for name, form in needed.items():
        if name not in known:
            raise TableError(f"{form.name} needs a column {name} of the pool and of the targets")
    return {name: known[name] for name in needed}


def _finite(log_losses: Array) -> Array:
    """The members [K, n] that have a loss everywhere."""
    return log_losses[np.isfinite(log_losses).all(axis=1)]
