from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from invented import law, machine, manifest, question

from isoflop.core.errors import BudgetError
from isoflop.core.products import Plan
from isoflop.law.copying import Copying
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan import memory, planner
from isoflop.plan.planner import (
    MAX_MEMORISED,
    Z90,
    Trunk,
    best,
    consider,
    make_plan,
    recipe_of,
    unused_time,
    what_if,
)
from isoflop.plan.rules import learning_rate

ASKED = question()


def plan(seconds: float, **changes: object) -> Plan:
    asked = question(**changes)
    choices = consider(asked, seconds=seconds, speedup=1.0)
    chosen = best(choices)
    return make_plan(
        asked,
        chosen,
        choices,
        budget_seconds=1.3 * seconds,
        training_seconds=seconds,
        tokens_per_second=chosen.tokens / (chosen.share_of_time * seconds),
        compiled=False,
        num_threads=2,
        trunk=None,
        what_if=[],
        warnings=[],
    )


def test_more_time_never_forecasts_worse() -> None:
    bits = [best(consider(ASKED, seconds=s, speedup=1.0)).candidate.bits_per_byte.central for s in (30, 60, 240, 2000)]
    assert bits == pytest.approx(sorted(bits, reverse=True))  # the same bound, reached from several budgets


def test_a_faster_machine_never_forecasts_worse() -> None:
    slow, fast = (best(consider(ASKED, seconds=100, speedup=speed)).loss for speed in (1.0, 1.5))
    assert fast < slow


def test_candidates_rise_in_size_and_fall_in_tokens() -> None:
    choices = consider(ASKED, seconds=300, speedup=1.0)
    sizes = [choice.candidate.num_parameters.matmul for choice in choices]
    assert sizes == sorted(sizes)
    assert all(a.tokens > 0.95 * b.tokens for a, b in pairwise(choices))
    for choice in choices:
        bits = choice.candidate.bits_per_byte
        assert bits.low < bits.central < bits.high
        assert choice.candidate.epochs == choice.tokens / ASKED.manifest.train.num_tokens
        assert choice.candidate.num_parameters == count_parameters(choice.config)


def test_the_best_is_the_least_expected_loss() -> None:
    choices = consider(ASKED, seconds=300, speedup=1.0)
    assert best(choices).loss == min(choice.loss for choice in choices)


def test_memory_is_respected() -> None:
    choices = consider(ASKED, seconds=600, speedup=1.0)
    needed = {choice.config: memory.needed(ASKED.room, choice.config, choice.tokens) for choice in choices}
    limit = (min(needed.values()) + needed[best(choices).config]) // 2
    tight = question(machine=machine(memory_bytes=int(limit / memory.MEMORY_SHARE)))
    chosen = best(consider(tight, seconds=600, speedup=1.0))
    assert chosen.candidate.fits_memory and memory.needed(tight.room, chosen.config, chosen.tokens) <= limit
    assert recipe_of(tight, chosen).micro_batches > 1 or needed[chosen.config] <= limit
    assert needed[best(choices).config] > limit
    with pytest.raises(BudgetError, match="memory"):
        best(consider(question(machine=machine(memory_bytes=100_000_000)), seconds=600, speedup=1.0))


@pytest.mark.parametrize("seconds", [0.01, 0.0, -12.0])
def test_too_little_time_is_refused(seconds: float) -> None:
    with pytest.raises(BudgetError, match="larger budget"):
        consider(ASKED, seconds=seconds, speedup=1.0)


def test_time_gone_before_the_plan_is_made_is_refused() -> None:
    choices = consider(ASKED, seconds=60, speedup=1.0)
    with pytest.raises(BudgetError, match="left 0 s for training"):
        make_plan(
            ASKED, best(choices), choices, budget_seconds=60, training_seconds=-3.0, tokens_per_second=1e4,
            compiled=False, num_threads=2, trunk=None, what_if=[], warnings=[],
        )  # fmt: skip


def test_the_plan_adds_up() -> None:
    made = plan(300)
    recipe = made.recipe
    assert made.tokens == recipe.num_steps * recipe.batch_tokens
    assert made.tokens == pytest.approx(made.tokens_per_second * 300, rel=0.01)
    assert made.epochs == pytest.approx(made.tokens / ASKED.manifest.train.num_tokens)
    assert count_parameters(ModelConfig(**made.model)) == made.num_parameters
    assert made.flops > 6 * made.num_parameters.matmul * made.tokens
    forecast = made.forecast
    for promise in (forecast.bits_per_byte, forecast.loss, forecast.seconds, forecast.joules):
        assert 0 < promise.low < promise.central < promise.high
    assert forecast.seconds.central == 390
    assert forecast.dollars is not None and forecast.dollars.central == pytest.approx(390 / 3600 * 0.4)
    assert forecast.grams_co2e is not None
    assert forecast.grams_co2e.central == pytest.approx(forecast.joules.central / 3.6e6 * 56)


def test_without_price_and_grid_nothing_is_promised_of_them() -> None:
    forecast = plan(100, dollars_per_hour=None, grams_co2e_per_kwh=None).forecast
    assert forecast.dollars is None and forecast.grams_co2e is None


def test_harder_test_documents_and_their_spread_are_in_the_forecast() -> None:
    plain, harder = plan(300).forecast, plan(300, heldout_ratio=1.02).forecast
    assert harder.bits_per_byte.central == pytest.approx(1.02 * plain.bits_per_byte.central)
    assert harder.loss == plain.loss
    wide = plan(300, heldout_sd=0.05).forecast.bits_per_byte
    assert wide.high > plain.bits_per_byte.high and wide.low < plain.bits_per_byte.low


def test_a_speed_that_may_change_is_in_the_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    told = plan(300)
    monkeypatch.setattr(planner, "SPEED_SD", 1e-9)
    steady = plan(300).forecast.loss
    size, unique = told.num_parameters.matmul, manifest().train.num_tokens
    loss = law().loss(size, told.tokens * np.exp([-Z90 * 0.07, 0.0, Z90 * 0.07]), unique)
    assert told.forecast.loss.central == steady.central == pytest.approx(loss[1])
    for side, slow in (("high", loss[0] / loss[1]), ("low", loss[1] / loss[2])):
        wide, narrow = (abs(math.log(getattr(made, side) / made.central)) for made in (told.forecast.loss, steady))
        assert wide**2 - narrow**2 == pytest.approx(math.log(slow) ** 2, rel=1e-3)


def test_repeating_shrinks_the_chosen_model() -> None:
    fresh = best(consider(question(manifest=manifest(train_tokens=10**9)), seconds=2000, speedup=1.0)).candidate
    few = best(consider(question(manifest=manifest(train_tokens=300_000)), seconds=2000, speedup=1.0)).candidate
    assert few.epochs > 1 > fresh.epochs
    assert few.bits_per_byte.central > fresh.bits_per_byte.central


def test_what_more_would_buy() -> None:
    answers = what_if(ASKED, budget_seconds=100, training_seconds=80, speedup=1.0)
    assert [answer.budget_seconds for answer in answers] == [100, 200, 1000]
    bits = [answer.bits_per_byte.central for answer in answers]
    assert bits == pytest.approx(sorted(bits, reverse=True))  # the same bound, reached from several budgets


def test_little_text_is_not_trained_on_for_longer_than_it_helps() -> None:
    """With 100 k tokens and hours, the law expects epochs without end to do harm: time stays unused, and it is said."""
    asked = question(manifest=manifest(train_tokens=100_000))
    bits = []
    for seconds in (600.0, 6e3, 6e4, 6e5):
        choice = best(consider(asked, seconds=seconds, speedup=1.0))
        bits.append(choice.loss)
        per_token = choice.candidate.num_parameters.matmul / 1e5
        assert choice.candidate.epochs <= 1.001 * max(1.0, MAX_MEMORISED / per_token) and 0 < choice.share_of_time <= 1
    assert bits == pytest.approx(sorted(bits, reverse=True))  # the same bound, reached from several budgets
    assert choice.share_of_time < 1
    made = plan(6e5, manifest=manifest(train_tokens=100_000))
    assert [warning.code for warning in made.warnings].count("time_unused") == 1
    assert made.training_seconds == pytest.approx(choice.share_of_time * 6e5)
    assert made.tokens == pytest.approx(choice.tokens, rel=1e-3)
    assert made.forecast.seconds.central == pytest.approx(1.3 * 6e5 - (6e5 - made.training_seconds))


def test_fresh_text_uses_all_its_time() -> None:
    choice = best(consider(question(manifest=manifest(train_tokens=10**9)), seconds=2000, speedup=1.0))
    assert choice.share_of_time == 1 and unused_time(1 - choice.share_of_time, 0.5) == []


def test_the_batch_follows_the_choice_and_the_steps_the_measured_speed() -> None:
    """What was compiled for a batch is kept, whatever the shape's speed turns out to be."""
    choices = consider(ASKED, seconds=300, speedup=1.0)
    chosen = best(choices)
    recipe = recipe_of(ASKED, chosen)
    for speed in (0.6, 1.4):
        made = make_plan(
            ASKED, chosen, choices, budget_seconds=400, training_seconds=300,
            tokens_per_second=speed * chosen.tokens / 300, compiled=False, num_threads=2, trunk=None, what_if=[],
            warnings=[],
        )  # fmt: skip
        assert (made.recipe.batch_tokens, made.recipe.learning_rate) == (recipe.batch_tokens, recipe.learning_rate)
        assert made.tokens == pytest.approx(speed * chosen.tokens, rel=0.01)


def test_no_measured_speed_makes_a_text_be_learnt_by_heart() -> None:
    asked = question(manifest=manifest(train_tokens=1_000_000))
    choices = consider(asked, seconds=60, speedup=1.0)
    chosen = best(choices)
    assert chosen.share_of_time == 1
    made = make_plan(
        asked, chosen, choices, budget_seconds=80, training_seconds=60, tokens_per_second=1e4 * chosen.tokens,
        compiled=False, num_threads=2, trunk=None, what_if=[], warnings=[],
    )  # fmt: skip
    per_token = chosen.candidate.num_parameters.matmul / 1e6
    assert made.epochs == pytest.approx(max(1.0, MAX_MEMORISED / per_token), rel=0.01)
    assert [warning.code for warning in made.warnings].count("time_unused") == 1


def test_a_trunk_s_tokens_count_as_trained_on() -> None:
    choices = consider(ASKED, seconds=300, speedup=1.0)
    chosen = best(choices)
    alone, onwards = (
        make_plan(
            ASKED, chosen, choices, budget_seconds=400, training_seconds=300, tokens_per_second=chosen.tokens / 300,
            compiled=False, num_threads=2, trunk=trunk, what_if=[], warnings=[],
        )
        for trunk in (None, Trunk("grid-w64", 400_000))
    )  # fmt: skip
    assert (onwards.continues, onwards.tokens) == ("grid-w64", alone.tokens + 400_000)
    assert onwards.flops / alone.flops == pytest.approx(onwards.tokens / alone.tokens)
    assert onwards.recipe == alone.recipe
    assert onwards.forecast.loss.central < alone.forecast.loss.central


def test_copying_lowers_the_forecast_and_is_told_but_chooses_nothing() -> None:
    plain, repeated = plan(2000), plan(2000, copying=Copying(0.06, 1e5))
    assert repeated.model == plain.model and repeated.recipe == plain.recipe
    assert repeated.forecast.bits_per_byte.central < 0.97 * plain.forecast.bits_per_byte.central
    assert [w.code for w in repeated.warnings if w not in plain.warnings] == ["copying_expected"]


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_processes_that_train_together_have_as_many_sequences_each(ranks: int) -> None:
    asked = question(ranks=ranks, machine=machine(memory_bytes=ranks * 8_000_000_000))
    for choice in consider(asked, seconds=300, speedup=1.0):
        recipe = recipe_of(asked, choice)
        assert recipe.batch_tokens % (ranks * asked.context) == 0
        assert recipe.learning_rate == pytest.approx(learning_rate(recipe.batch_tokens))
        assert recipe.num_steps * recipe.batch_tokens <= max(choice.tokens, recipe.batch_tokens)


def test_on_a_cpu_they_share_its_memory() -> None:
    assert question(ranks=4).room.machine_bytes == ASKED.room.machine_bytes // 4
    on_gpus = dataclasses.replace(ASKED.machine, device="cuda:0")
    assert question(ranks=4, machine=on_gpus).room.machine_bytes == ASKED.room.machine_bytes
