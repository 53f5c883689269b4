"""Which pilots to run: a ladder of sizes below the size the budget will want, in the seconds planning may take.

Every job is a trunk with decay branches (train/pilot.py). Beside the grid of sizes, where there is time, a second seed
measures the noise and a bracket of learning rates checks the rule on one rung. The last trunks go where the law of the
others knows least of what it is asked (`next_trunks`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from isoflop.core.products import Machine, Method, Recipe
from isoflop.law import prior as trust
from isoflop.law.belief import falling
from isoflop.law.design import conditioned, next_run
from isoflop.law.isoflop import EdgeMinimum
from isoflop.law.predict import Law
from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.guess import Guess
from isoflop.plan.rules import DECAY_FRACTION, recipe_for
from isoflop.train.pilot import LATE, PilotJob

BRANCHES = (0.25, 0.5, 1.0)
"""Token counts of a trunk's points, as shares of its longest."""
TRUNK_COST = 1.0 + DECAY_FRACTION * (0.25 + 0.5)
"""Steps of a trunk with its branches over those of its longest branch."""
MIN_STEPS = 250
"""A branch of fewer steps is left out: its loss does not obey the law yet (docs/log.md)."""
LARGEST_SHARE = 0.6
"""Of the expected target's size: the size itself is dear and, with the few tokens it can see, says least."""
SIZE_STEP = 2.0
"""Least ratio of the matmul parameters of two sizes of the grid."""


@dataclass(frozen=True)
class Setting:
    """What all pilots of a study share."""

    machine: Machine
    throughput: Throughput
    shapes: tuple[ModelConfig, ...]
    context: int
    unique_tokens: int
    """Training tokens there are."""
    num_workers: int
    """Pilots trained at once."""
    num_val_tokens: int
    seed: int
    method: Method
    study: Path


@dataclass(frozen=True)
class Trunk:
    """A trunk before it is given its time: its size, its purpose and what differs in it.

    One that carries only the first branches has the recipe of the whole trunk, so that they can be compared.
    """

    config: ModelConfig
    purpose: str
    weight: float = 1.0
    """Share of the time, with all branches."""
    seed_offset: int = 0
    rate_factor: float = 1.0
    branches: tuple[float, ...] = BRANCHES

    @property
    def cost(self) -> float:
        """Share of the time, with the branches it has."""
        steps = self.branches[-1] + DECAY_FRACTION * sum(self.branches[:-1])
        return self.weight * steps / TRUNK_COST


def design(setting: Setting, trunks: list[Trunk], *, seconds: float) -> list[PilotJob]:
    """Jobs that keep all workers busy for about ``seconds``, longest first; a trunk without a branch has none."""
    unit = seconds / _makespan([trunk.cost for trunk in trunks], setting.num_workers)
    jobs = [_job(setting, trunk, unit=unit) for trunk in trunks]
    return sorted((job for job in jobs if job.branch_steps), key=lambda job: -job.seconds)


def choose_trunks(setting: Setting, guess: Guess, *, core_seconds: float) -> list[Trunk]:
    """The grid, the larger the size the longer; then, as time allows, noise and the rate's bracket.

    Few long trunks: a forecast suffers most from the distance it has to bridge. The others repeat the first branches
    of a grid trunk with nothing changed but the seed or the rate.
    """
    num_sizes = 2 + (core_seconds >= 75) + (core_seconds >= 220) + (core_seconds >= 700)
    sizes = grid_sizes(setting.shapes, guess.config, num_sizes)
    num_middle = len(sizes) - 2
    weights = [2.0, *[1.0] * num_middle, max(0.5, 2.0 - num_middle)]
    trunks = [Trunk(config, "grid", weight=w) for config, w in zip(reversed(sizes), weights, strict=True)]
    if core_seconds >= 220:
        *_, second, smallest = trunks
        trunks.append(replace(smallest, purpose="seed", seed_offset=1, branches=BRANCHES[:2]))
        trunks += [replace(second, purpose="rate", rate_factor=f, branches=BRANCHES[:1]) for f in (0.5, 2.0)]
    return trunks


def next_trunks(setting: Setting, law: Law, guess: Guess, edge: EdgeMinimum | None, *, seconds: float) -> list[Trunk]:
    """A trunk a worker, ``seconds`` long, that together tell most about the target, by the law of the pilots so far.

    None where the law is as sure of the target as its form can be. Where the least loss at equal FLOPs lies at an end
    of the sizes, sizes beyond that end alone are asked.
    """
    pool = [
        (config, job)
        for config in _candidates(setting.shapes, guess.config, edge)
        for job in design(setting, [Trunk(config, "next")] * setting.num_workers, seconds=seconds)[:1]
        if _expected_seconds(setting, config, job) <= LATE * seconds
    ]
    target = law.draw_losses(_size(guess.config), guess.tokens, setting.unique_tokens)
    at_target = np.log(target)[:, None]
    if not pool or at_target.std() < trust.MODEL_SD:
        return []
    sizes = np.array([float(_size(config)) for config, _ in pool])
    tokens = np.array([float(job.branch_steps[-1] * job.recipe.batch_tokens) for _, job in pool])
    at_pool = np.log(law.draw_losses(sizes, tokens, setting.unique_tokens))
    costliest = max(point.num_parameters * point.tokens for point in law.report().points)
    noise = law.run_sd * falling(sizes * tokens, costliest, trust.MISFIT_PER_EFOLD)
    chosen: list[int] = []
    rng = np.random.default_rng(setting.seed)
    for _ in range(min(setting.num_workers, len(pool))):
        free = ~np.isin(np.arange(len(pool)), chosen)
        run = next_run(at_pool, at_target, np.ones(len(pool)), noise=noise, affordable=free)
        if run is None:
            break
        chosen.append(run)
        at_pool, at_target = conditioned(at_pool, at_target, run, float(noise[run]), rng)
    return [Trunk(pool[run][0], "next") for run in chosen]


def _expected_seconds(setting: Setting, config: ModelConfig, job: PilotJob) -> float:
    """Of a job with all its branches; longer than its share of time where the fewest steps take longer."""
    tokens = job.recipe.batch_tokens * job.recipe.num_steps * TRUNK_COST
    return tokens / worker_tokens_per_second(setting, config, job.recipe.batch_tokens)


def _candidates(shapes: tuple[ModelConfig, ...], target: ModelConfig, edge: EdgeMinimum | None) -> list[ModelConfig]:
    """Shapes up to the expected target's; only those beyond the end at which the least loss lies, if there are any."""
    below = [config for config in shapes if _size(config) <= _size(target)]
    if edge is None or edge.side == "neither":
        return below
    smaller = edge.side == "smallest"
    beyond = [c for c in shapes if (_size(c) < edge.size if smaller else _size(c) >= SIZE_STEP * edge.size)]
    return beyond or below


def grid_sizes(shapes: tuple[ModelConfig, ...], target: ModelConfig, count: int) -> list[ModelConfig]:
    """``count`` shapes in rising order (at least two): the largest about half the expected target's size, each
    `SIZE_STEP` times the one before or more (its square where there are only two)."""
    below = [s for s in shapes if _size(s) <= LARGEST_SHARE * _size(target)] or [shapes[0]]
    chosen = [below[-1]]
    step = SIZE_STEP**2 if count == 2 else SIZE_STEP  # two sizes must be far apart to say anything about size
    for config in reversed(below):
        if len(chosen) < count and _size(config) * step <= _size(chosen[0]):
            chosen.insert(0, config)
    above = [s for s in shapes if _size(s) > _size(chosen[-1])]
    return chosen + above[: max(0, 2 - len(chosen))]


def worker_tokens_per_second(setting: Setting, config: ModelConfig, batch_tokens: int) -> float:
    """Expected speed of one worker while the others work too."""
    seconds = setting.throughput.step_seconds(config, batch_tokens=batch_tokens)
    gain = setting.machine.side_by_side_gain if setting.num_workers > 1 else 1.0
    return batch_tokens / seconds * gain / setting.num_workers


def _job(setting: Setting, trunk: Trunk, *, unit: float) -> PilotJob:
    """The job of a trunk whose weight counts in ``unit`` seconds."""
    whole = unit * trunk.weight / TRUNK_COST  # seconds of the steps of the longest branch alone
    tokens = 1e6
    for _ in range(8):  # tokens set the batch, the batch sets the speed: a few rounds settle it
        recipe = _recipe(setting, trunk, tokens)
        tokens = worker_tokens_per_second(setting, trunk.config, recipe.batch_tokens) * whole
    recipe = _recipe(setting, trunk, tokens)
    run = f"{trunk.purpose}-w{trunk.config.hidden_size}" + (
        f"-x{trunk.rate_factor:g}" if trunk.purpose == "rate" else ""
    )
    return PilotJob(
        run=run,
        purpose=trunk.purpose,
        model=asdict(trunk.config),
        recipe=recipe,
        branch_steps=_branch_steps(recipe.num_steps, trunk.branches),
        seconds=unit * trunk.cost,
        dtype=setting.machine.dtype,
        num_val_tokens=setting.num_val_tokens,
        corpus=setting.study / "corpus",
        folder=setting.study / "pilots" / run,
        records=setting.study / "records.jsonl",
    )


def _recipe(setting: Setting, trunk: Trunk, tokens: float) -> Recipe:
    # the trunk serves several horizons; its batch and rate are those of the middle one
    recipe = recipe_for(
        tokens * BRANCHES[1],
        context=setting.context,
        unique_tokens=setting.unique_tokens,
        seed=setting.seed + trunk.seed_offset,
        method=replace(setting.method, schedule="wsd"),  # one trunk serves several horizons
    )
    return replace(
        recipe,
        learning_rate=recipe.learning_rate * trunk.rate_factor,
        num_steps=max(MIN_STEPS, int(tokens / recipe.batch_tokens)),
    )


def _branch_steps(num_steps: int, shares: tuple[float, ...]) -> list[int]:
    """Steps of each branch; branches of too few steps to obey the law are left out."""
    return [n for share in shares if (n := round(num_steps * share)) >= MIN_STEPS]


def _makespan(weights: list[float], num_workers: int) -> float:
    """Time until all are done when the longest waiting job always goes to the first free worker."""
    loads = [0.0] * num_workers
    for weight in sorted(weights, reverse=True):
        loads[loads.index(min(loads))] += weight
    return max(loads)


def _size(config: ModelConfig) -> int:
    return count_parameters(config).matmul
