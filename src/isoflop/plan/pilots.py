"""Which pilots to run: a ladder of sizes below the size the budget will want, in the seconds planning may take.

Every job is a trunk with decay branches (train/pilot.py). Beside the grid of sizes, a second trunk of one size sees so
little distinct text that it repeats it as often as the target will (its loss identifies the price of repetition), a
second seed measures the noise, and a bracket of learning rates checks the rule on one rung.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from isoflop.core.products import Machine, Recipe
from isoflop.law.isoflop import EdgeMinimum
from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.guess import Guess
from isoflop.plan.rules import DECAY_FRACTION, recipe_for
from isoflop.train.pilot import PilotJob

BRANCHES = (0.25, 0.5, 1.0)
"""Token counts of a trunk's points, as shares of its longest."""
TRUNK_COST = 1.0 + DECAY_FRACTION * (0.25 + 0.5)
"""Steps of a trunk with its branches over those of its longest branch."""
MIN_LAST_STEPS = 1000
MIN_TRUNK_SECONDS = 8.0
REPEATED_EPOCHS = 1.3
"""Repeating is measured when the target is expected to see its text more often than this."""
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
    num_val_tokens: int
    seed: int
    study: Path


@dataclass(frozen=True)
class Trunk:
    """A trunk before it is given its time: its size, purpose, share of a grid trunk's time, and what differs in it."""

    config: ModelConfig
    purpose: str
    weight: float = 1.0
    epochs: float = 1.0
    seed_offset: int = 0
    rate_factor: float = 1.0
    branches: tuple[float, ...] = BRANCHES


def design(setting: Setting, trunks: list[Trunk], *, seconds: float) -> list[PilotJob]:
    """Jobs that keep all workers busy for about ``seconds``, longest first."""
    unit = seconds / _makespan([trunk.weight for trunk in trunks], setting.num_workers)
    jobs = [_job(setting, trunk, seconds=unit * trunk.weight) for trunk in trunks]
    return sorted(jobs, key=lambda job: -job.seconds)


def choose_trunks(setting: Setting, guess: Guess, *, core_seconds: float) -> list[Trunk]:
    """The grid first; then, as time allows, repetition, noise and the learning-rate bracket."""
    num_trunks = max(
        2,
        min(
            8,
            int(core_seconds / 25.0),
        )
        if core_seconds >= 50
        else int(core_seconds / MIN_TRUNK_SECONDS),
    )
    repeats = guess.epochs > REPEATED_EPOCHS
    num_sizes = max(2, min(5, num_trunks - repeats - (num_trunks > 5)))
    sizes = grid_sizes(setting.shapes, guess.config, num_sizes)
    trunks = [Trunk(config, "grid") for config in sizes]
    middle = sizes[len(sizes) // 2]
    if repeats and num_trunks > 2:
        trunks.append(Trunk(middle, "repeat", epochs=guess.epochs))
    if num_trunks > 4:
        trunks.append(Trunk(sizes[0], "seed", weight=0.5, seed_offset=1))
    if num_trunks > 5:
        trunks += [Trunk(sizes[1], "rate", weight=0.25, rate_factor=f, branches=(1.0,)) for f in (0.5, 2.0)]
    return trunks


def recentred(shapes: tuple[ModelConfig, ...], edge: EdgeMinimum) -> Trunk | None:
    """A trunk of the next size beyond the end at which the least loss lies; None where the ladder ends there."""
    if edge.side == "smallest":
        beyond = [config for config in shapes if _size(config) < edge.size]
        return Trunk(beyond[-1], "recentre") if beyond else None
    beyond = [config for config in shapes if _size(config) >= edge.size * SIZE_STEP]
    return Trunk(beyond[0], "recentre") if beyond else None


def grid_sizes(shapes: tuple[ModelConfig, ...], target: ModelConfig, count: int) -> list[ModelConfig]:
    """``count`` shapes below the expected target, each `SIZE_STEP` times the one before or more."""
    below = [s for s in shapes if _size(s) <= _size(target)] or [shapes[0]]
    chosen = [below[-1]]
    for config in reversed(below):
        if _size(config) * SIZE_STEP <= _size(chosen[-1]):
            chosen.append(config)
    chosen = chosen[1:] if len(chosen) > count else chosen  # the target's own size is dear and says least
    for config in shapes:
        if len(chosen) >= 2:
            break
        if config not in chosen:
            chosen.insert(0, config)
    return sorted(chosen[:count], key=_size)


def worker_tokens_per_second(setting: Setting, config: ModelConfig, batch_tokens: int) -> float:
    """Expected speed of one worker while the others work too."""
    seconds = setting.throughput.step_seconds(config, batch_tokens=batch_tokens)
    return batch_tokens / seconds * setting.machine.side_by_side_gain / setting.num_workers


def _job(setting: Setting, trunk: Trunk, *, seconds: float) -> PilotJob:
    size = count_parameters(trunk.config).matmul
    cost = TRUNK_COST if len(trunk.branches) > 1 else 1.0
    tokens = 1e6
    for _ in range(8):  # tokens set the batch, the batch sets the speed: a few rounds settle it
        recipe = _recipe(setting, trunk, size, tokens)
        tokens = worker_tokens_per_second(setting, trunk.config, recipe.batch_tokens) * seconds / cost
    recipe = _recipe(setting, trunk, size, tokens)
    run = f"{trunk.purpose}-w{trunk.config.hidden_size}" + (
        f"-x{trunk.rate_factor:g}" if trunk.purpose == "rate" else ""
    )
    return PilotJob(
        run=run,
        purpose=trunk.purpose,
        model=dataclasses.asdict(trunk.config),
        recipe=recipe,
        branch_steps=_branch_steps(recipe.num_steps, trunk.branches),
        seconds=seconds,
        dtype=setting.machine.dtype,
        num_val_tokens=setting.num_val_tokens,
        corpus=setting.study / "corpus",
        folder=setting.study / "pilots" / run,
        records=setting.study / "records.jsonl",
    )


def _recipe(setting: Setting, trunk: Trunk, size: int, tokens: float) -> Recipe:
    unique = setting.unique_tokens
    if trunk.epochs > 1:
        unique = int(min(unique, max(4 * setting.context, tokens / trunk.epochs)))
    # the trunk serves several horizons; its batch and rate are those of the middle one
    recipe = recipe_for(
        size, tokens * BRANCHES[1], context=setting.context, unique_tokens=unique, seed=setting.seed + trunk.seed_offset
    )
    return dataclasses.replace(
        recipe,
        learning_rate=recipe.learning_rate * trunk.rate_factor,
        num_steps=max(MIN_LAST_STEPS // 4, int(tokens / recipe.batch_tokens)),
    )


def _branch_steps(num_steps: int, shares: tuple[float, ...]) -> list[int]:
    """Steps of each branch; branches of too few steps to obey the law are left out."""
    steps = [round(num_steps * share) for share in shares]
    return [n for n in steps[:-1] if n >= MIN_LAST_STEPS // 4] + steps[-1:]


def _makespan(weights: list[float], num_workers: int) -> float:
    """Time until all are done when the longest waiting job always goes to the first free worker."""
    loads = [0.0] * num_workers
    for weight in sorted(weights, reverse=True):
        loads[loads.index(min(loads))] += weight
    return max(loads)


def _size(config: ModelConfig) -> int:
    return count_parameters(config).matmul
