from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented import CONTEXT, SHAPES, TRUE, setting

from isoflop.law.isoflop import EdgeMinimum
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.guess import Guess, guess_target
from isoflop.plan.pilots import (
    BRANCHES,
    SIZE_STEP,
    Trunk,
    choose_trunks,
    design,
    grid_sizes,
    recentred,
    worker_tokens_per_second,
)
from isoflop.train.pilot import PilotJob


def size(config: ModelConfig) -> int:
    return count_parameters(config).matmul


def guess(seconds: float, *, unique: float = 2.5e6) -> Guess:
    return guess_target(TRUE, SHAPES, context=CONTEXT, seconds=seconds, unique_tokens=unique)


def jobs(seconds: float, *, num_workers: int = 2, unique: int = 2_500_000) -> list[PilotJob]:
    made = setting(num_workers=num_workers, unique_tokens=unique)
    wanted = guess(8 * seconds, unique=unique)
    return design(made, choose_trunks(made, wanted, core_seconds=seconds * num_workers), seconds=seconds)


@settings(max_examples=60)
@given(st.integers(0, len(SHAPES) - 1), st.integers(2, 6))
def test_sizes_of_the_grid(target: int, count: int) -> None:
    chosen = grid_sizes(SHAPES, SHAPES[target], count)
    sizes = [size(config) for config in chosen]
    assert 2 <= len(chosen) <= count
    assert sizes == sorted(set(sizes))
    assert set(chosen) <= set(SHAPES)
    assert sizes[-1] <= max(size(SHAPES[target]), size(SHAPES[1]))
    if target > 6:  # room enough below: every step as wide as it should be
        assert all(b >= SIZE_STEP * a for a, b in pairwise(sizes))


@pytest.mark.parametrize("seconds", [7, 20, 66, 200, 800])
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_the_workers_are_busy_for_the_time_and_no_longer(seconds: float, num_workers: int) -> None:
    made = jobs(seconds, num_workers=num_workers)
    assert [job.seconds for job in made] == sorted((job.seconds for job in made), reverse=True)
    loads = [0.0] * num_workers
    for job in made:
        loads[loads.index(min(loads))] += job.seconds
    assert max(loads) == pytest.approx(seconds)
    assert sum(loads) > 0.5 * seconds * min(num_workers, len(made))


@pytest.mark.parametrize("seconds", [7, 66, 800])
def test_jobs_can_be_told_apart_and_begin_with_two_sizes(seconds: float) -> None:
    made = jobs(seconds)
    assert len({job.run for job in made}) == len({job.folder for job in made}) == len(made)
    assert len({job.model["hidden_size"] for job in made if job.purpose == "grid"}) >= 2
    for job in made:
        assert job.branch_steps == sorted(job.branch_steps)
        assert job.branch_steps[-1] == job.recipe.num_steps
        assert job.recipe.unique_tokens <= 2_500_000


def test_a_long_grid_trunk_has_its_branches_and_takes_its_time() -> None:
    made = setting()
    for job in (job for job in jobs(4000) if job.purpose == "grid"):
        assert 2 <= len(job.branch_steps) <= len(BRANCHES)
        decays = sum(job.branch_steps[:-1]) * job.recipe.decay_fraction
        steps = job.branch_steps[-1] + decays
        speed = worker_tokens_per_second(made, ModelConfig(**job.model), job.recipe.batch_tokens)
        taken = steps * job.recipe.batch_tokens / speed
        assert taken == pytest.approx(job.seconds, rel=0.15)  # its shortest branch may be left out


def test_more_time_never_means_fewer_sizes() -> None:
    chosen = [choose_trunks(setting(), guess(8 * s), core_seconds=2 * s) for s in (5, 10, 20, 26, 60, 200, 1000)]
    counts = [sum(trunk.purpose == "grid" for trunk in trunks) for trunks in chosen]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_common_random_numbers_but_for_the_seed_pilot() -> None:
    made = jobs(800)
    assert {job.recipe.seed for job in made if job.purpose != "seed"} == {7}
    assert all(job.recipe.seed != 7 for job in made if job.purpose == "seed")


def test_the_bracket_differs_in_the_rate_alone() -> None:
    made = jobs(800)
    trials = [job for job in made if job.purpose == "rate"]
    assert len(trials) == 2
    low, high = sorted(trials, key=lambda job: job.recipe.learning_rate)
    assert high.recipe.learning_rate == pytest.approx(4 * low.recipe.learning_rate)
    assert low.branch_steps == high.branch_steps


def test_recentring_goes_beyond_the_end_at_which_the_least_loss_lies() -> None:
    middle = float(size(SHAPES[5]))
    below, above = (recentred(SHAPES, EdgeMinimum(side, middle)) for side in ("smallest", "largest"))
    assert isinstance(below, Trunk) and isinstance(above, Trunk)
    assert size(below.config) < middle < size(above.config)
    assert recentred(SHAPES, EdgeMinimum("smallest", float(size(SHAPES[0])))) is None
    assert recentred(SHAPES, EdgeMinimum("largest", float(size(SHAPES[-1])))) is None
