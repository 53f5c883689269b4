from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented import CONTEXT, SHAPES

from isoflop.model.config import ModelConfig
from isoflop.model.count import checkpoint_bytes, count_parameters, memory_bytes
from isoflop.plan.memory import MEMORY_SHARE, Passage, Room, fits, needed, passage
from isoflop.plan.rules import batch_tokens

ROOMY = Room(10**12, 10**9, CONTEXT, "bfloat16")
TOKENS = 3e8


def room(limit: float) -> Room:
    return dataclasses.replace(ROOMY, machine_bytes=int(limit / MEMORY_SHARE) + 1)


def test_where_there_is_room_a_batch_goes_through_whole() -> None:
    config, batch = SHAPES[6], batch_tokens(TOKENS, context=CONTEXT)
    assert passage(ROOMY, config, TOKENS) == Passage(1)
    assert needed(ROOMY, config, TOKENS) == 10**9 + memory_bytes(config, batch, CONTEXT, "bfloat16") + (
        2 * checkpoint_bytes(config)
    )


def test_a_little_too_little_room_halves_the_batch_or_more() -> None:
    config = SHAPES[6]
    tight = room(needed(ROOMY, config, TOKENS) - 1)
    way = passage(tight, config, TOKENS)
    count = way.parts
    assert count > 1 and not way.recompute and batch_tokens(TOKENS, context=CONTEXT) // CONTEXT % count == 0
    assert fits(tight, config, TOKENS) and needed(tight, config, TOKENS) < needed(ROOMY, config, TOKENS)


def test_what_no_parts_make_fit_does_not_fit() -> None:
    config = SHAPES[6]
    assert not fits(room(4 * count_parameters(config).all), config, TOKENS)


@given(st.floats(1e9, 2e9), st.floats(1.0, 2.0), st.sampled_from(SHAPES[:10]))
def test_more_room_never_takes_more_parts(limit: float, more: float, config: object) -> None:
    ways = [passage(room(size), config, TOKENS) for size in (limit, limit * more)]  # type: ignore[arg-type]
    assert (ways[1].recompute, ways[1].parts) <= (ways[0].recompute, ways[0].parts)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_are_whole_sequences(count: int) -> None:
    sequences = batch_tokens(TOKENS, context=CONTEXT) // CONTEXT
    assert all(sequences % passage(room(limit), SHAPES[4], TOKENS).parts == 0 for limit in (1.1e9 * count, 1.05e9))


def test_where_one_sequence_is_too_much_its_activations_are_computed_twice() -> None:
    """Long ones: beside them the weights are little."""
    long = dataclasses.replace(ROOMY, context=1 << 14)
    config = dataclasses.replace(SHAPES[4], max_position_embeddings=long.context)
    state = room(0.0).process_bytes + 3 * checkpoint_bytes(config)
    one = memory_bytes(config, long.context, long.context, "bfloat16")
    again = memory_bytes(config, long.context, long.context, "bfloat16", recompute=True)
    assert again < 0.5 * one
    tight = dataclasses.replace(long, machine_bytes=int((state + 0.9 * one) / MEMORY_SHARE))
    assert passage(tight, config, TOKENS).recompute and fits(tight, config, TOKENS)


def test_processes_that_divide_a_batch_need_less_each_but_for_gradients_on_their_way() -> None:
    config, four = SHAPES[6], dataclasses.replace(ROOMY, ranks=4)
    part = round(batch_tokens(TOKENS, context=CONTEXT) / CONTEXT / 4) * CONTEXT
    buckets = 2 * count_parameters(config).all
    assert needed(four, config, TOKENS) == 10**9 + buckets + memory_bytes(config, part, CONTEXT, "bfloat16") + (
        2 * checkpoint_bytes(config)
    )
    assert needed(four, config, TOKENS) < needed(ROOMY, config, TOKENS)


def test_processes_share_a_model_that_one_cannot_hold() -> None:
    config, four = SHAPES[6], dataclasses.replace(ROOMY, ranks=4, copies=0.0, may_share=True)
    least = memory_bytes(config, CONTEXT, CONTEXT, "bfloat16", recompute=True)
    sums_and_buckets = (4 + 2) * count_parameters(config).all
    tight = dataclasses.replace(four, machine_bytes=int((10**9 + least + 0.9 * sums_and_buckets) / MEMORY_SHARE))
    assert passage(tight, config, TOKENS).sharded and fits(tight, config, TOKENS)
    assert not passage(four, config, TOKENS).sharded  # where there is room each has all of it
    for alone in (dataclasses.replace(tight, may_share=False), dataclasses.replace(tight, ranks=7)):  # which divide not
        assert not passage(alone, config, TOKENS).sharded and not fits(alone, config, TOKENS)


@given(st.sampled_from(SHAPES), st.sampled_from([2, 4, 8]))
def test_a_share_of_the_state_is_less_than_all_of_it(config: ModelConfig, shares: int) -> None:
    whole, share = (memory_bytes(config, 0, CONTEXT, "bfloat16", shares=count) for count in (1, shares))
    state = checkpoint_bytes(config) + 4 * count_parameters(config).all
    assert state / shares < share < whole


def test_copies_of_the_state_are_in_the_room_or_not() -> None:
    config = SHAPES[6]
    here, none = (needed(dataclasses.replace(ROOMY, copies=copies), config, TOKENS) for copies in (2.0, 0.0))
    assert here - none == 2 * checkpoint_bytes(config)
