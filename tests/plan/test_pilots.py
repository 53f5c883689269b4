from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented import CONTEXT, SHAPES, TRUE, law, setting

from isoflop.core.records import PilotFinished
from isoflop.law.isoflop import EdgeMinimum
from isoflop.law.predict import Law
from isoflop.law.prior import MISFIT_PER_EFOLD
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
    next_trunks,
    worker_tokens_per_second,
)
from isoflop.stages.law import DEFAULT_NOISE_NATS, _rate_warnings, _seed_noise
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
        assert (job.branch_steps[-1] == job.recipe.num_steps) == (job.purpose == "grid")
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


def few_sizes(seconds: float) -> list[PilotJob]:
    """As `jobs`, for a target so small that the ladder has but three sizes for the grid."""
    made = setting()
    small = replace(guess(1.0), config=SHAPES[4])
    trunks = choose_trunks(made, small, core_seconds=2 * seconds)
    assert sum(trunk.purpose == "grid" for trunk in trunks) == 3
    return design(made, trunks, seconds=seconds)


@pytest.mark.parametrize("make", [jobs, few_sizes])
def test_the_others_repeat_branches_of_the_grid_but_for_seed_or_rate(make: Callable[[float], list[PilotJob]]) -> None:
    made = make(800)
    grid = {job.model["hidden_size"]: job for job in made if job.purpose == "grid"}
    others = [job for job in made if job.purpose != "grid"]
    assert sorted(job.purpose for job in others) == ["rate", "rate", "seed"]
    for job in others:
        base = grid[job.model["hidden_size"]]
        same = {"seed": base.recipe.seed} if job.purpose == "seed" else {"learning_rate": base.recipe.learning_rate}
        assert job.recipe != base.recipe and replace(job.recipe, **same) == base.recipe
        assert job.branch_steps == base.branch_steps[: len(job.branch_steps)]
        assert job.seconds < base.seconds


def records_of(made: list[PilotJob], loss: dict[str, float]) -> list[PilotFinished]:
    """What the jobs would record, with the loss of each purpose."""
    return [
        PilotFinished(
            run=job.run,
            hidden_size=job.model["hidden_size"],
            num_layers=job.model["num_hidden_layers"],
            num_parameters=size(ModelConfig(**job.model)),
            tokens=steps * job.recipe.batch_tokens,
            unique_tokens=job.recipe.unique_tokens,
            flops=1e12,
            loss=loss[job.purpose],
            bits_per_byte=2.0,
            learning_rate=job.recipe.learning_rate,
            batch_tokens=job.recipe.batch_tokens,
            num_steps=steps,
            seed=job.recipe.seed,
            purpose=job.purpose,
            seconds=1.0,
        )
        for job in made
        for steps in job.branch_steps
    ]


@pytest.mark.parametrize("make", [jobs, few_sizes])
def test_designed_pilots_measure_noise_and_bracket(make: Callable[[float], list[PilotJob]]) -> None:
    found = records_of(make(800), {"grid": 5.0, "seed": 5.06, "rate": 4.9})
    assert _seed_noise(found) == pytest.approx(0.06 / 2**0.5)
    messages = [warning.message for warning in _rate_warnings(found)]
    assert [message.split()[0] for message in messages] == ["0.5", "2"]
    assert _rate_warnings(records_of(make(800), {"grid": 5.0, "seed": 5.0, "rate": 5.0 - DEFAULT_NOISE_NATS})) == []


def test_a_trunk_too_short_for_its_branches_is_left_out() -> None:
    config = SHAPES[5]
    trunks = [Trunk(config, "grid"), Trunk(config, "rate", rate_factor=2.0, branches=BRANCHES[:1])]
    short, long = (design(setting(), trunks, seconds=seconds) for seconds in (2.0, 2000.0))
    assert [job.purpose for job in short] == ["grid"]
    assert [job.purpose for job in long] == ["grid", "rate"]


def test_one_after_another_a_pilot_has_all_threads() -> None:
    alone = worker_tokens_per_second(setting(num_workers=1), SHAPES[3], 512)
    assert alone == pytest.approx(512 / TRUE.step_seconds(SHAPES[3], batch_tokens=512))
    beside = worker_tokens_per_second(setting(num_workers=2), SHAPES[3], 512)
    assert beside == pytest.approx(alone * setting().machine.side_by_side_gain / 2)


def next_sizes(edge: EdgeMinimum | None = None, *, num_workers: int = 2, known: Law | None = None) -> list[int]:
    made, wanted = setting(num_workers=num_workers), guess(600)
    return [size(t.config) for t in next_trunks(made, known or law(), wanted, edge, seconds=120.0)]


def test_the_next_trunks_are_one_a_worker_of_different_sizes_up_to_the_target() -> None:
    for num_workers in (1, 2, 4):
        chosen = next_sizes(num_workers=num_workers)
        assert len(chosen) == len(set(chosen)) == num_workers
        assert max(chosen) <= size(guess(600).config)
    assert next_sizes() == next_sizes()


def test_the_first_trunk_asked_for_tells_more_of_the_target_than_any_other() -> None:
    """By the draws: what is left of the target's variance where the run's own loss is known but for noise."""
    made, wanted = setting(num_workers=1), guess(600)
    [trunk] = next_trunks(made, law(), wanted, None, seconds=120.0)
    left = {}
    for config in (config for config in SHAPES if size(config) <= size(wanted.config)):
        [job] = design(made, [Trunk(config, "next")], seconds=120.0)
        tokens = float(job.branch_steps[-1] * job.recipe.batch_tokens)
        seen = np.log(law().draw_losses(size(config), tokens, made.unique_tokens))
        asked = np.log(law().draw_losses(size(wanted.config), wanted.tokens, made.unique_tokens))
        costliest = max(point.num_parameters * point.tokens for point in law().report().points)
        noise = law().run_sd * (1 + MISFIT_PER_EFOLD * max(0.0, np.log(costliest / (size(config) * tokens))))
        left[config] = np.var(asked, ddof=1) - np.cov(seen, asked)[0, 1] ** 2 / (np.var(seen, ddof=1) + noise**2)
    assert left[trunk.config] == min(left.values()) < np.var(asked, ddof=1)


def test_a_trunk_whose_fewest_steps_take_too_long_is_not_asked_for() -> None:
    made, wanted = setting(num_workers=1), guess(6000)
    [trunk] = next_trunks(made, law(), wanted, None, seconds=8.0)
    [job] = design(made, [trunk], seconds=8.0)
    taken = job.branch_steps[-1] * job.recipe.batch_tokens
    assert taken / worker_tokens_per_second(made, trunk.config, job.recipe.batch_tokens) < 1.3 * 8.0


def test_nothing_more_is_asked_of_a_law_that_is_sure() -> None:
    report = law().report()
    sure = Law.from_report(replace(report, draws=[list(report.parameters.values())] * 10))
    assert next_sizes(known=sure) == []


def test_where_the_least_loss_lies_at_an_end_sizes_beyond_it_are_asked() -> None:
    middle = float(size(SHAPES[1]))
    assert max(next_sizes(EdgeMinimum("smallest", middle))) < middle
    assert min(next_sizes(EdgeMinimum("largest", middle))) >= SIZE_STEP * middle
    for nothing_beyond in (EdgeMinimum("smallest", 1.0), EdgeMinimum("largest", 1e12), EdgeMinimum("neither", middle)):
        assert next_sizes(nothing_beyond) == next_sizes()
