from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from invented import CONTEXT, SHAPES, TRUE

from isoflop.model.count import count_parameters
from isoflop.plan.guess import guess_target, tokens_in
from isoflop.plan.rules import optimal_batch

SECONDS = st.floats(1, 1e5)


@given(SECONDS, st.integers(0, 12))
@example(1959.0, 10)
def test_the_tokens_take_the_seconds(seconds: float, index: int) -> None:
    tokens = tokens_in(TRUE, SHAPES[index], context=CONTEXT, seconds=seconds)
    batch = optimal_batch(tokens)
    if tokens > CONTEXT:
        taken = tokens / batch * TRUE.step_seconds(SHAPES[index], batch_tokens=batch)
        assert taken == pytest.approx(seconds, rel=1e-6)


@given(SECONDS, st.integers(0, 11))
def test_a_larger_shape_sees_less(seconds: float, index: int) -> None:
    small, large = (tokens_in(TRUE, SHAPES[i], context=CONTEXT, seconds=seconds) for i in (index, index + 1))
    assert large <= small


def test_twice_the_speed_is_twice_the_time() -> None:
    fast = tokens_in(TRUE, SHAPES[3], context=CONTEXT, seconds=100, speedup=2.0)
    assert fast == tokens_in(TRUE, SHAPES[3], context=CONTEXT, seconds=200)


@pytest.mark.parametrize("seconds", [0.0, -20.0])
def test_no_time_is_one_sequence(seconds: float) -> None:
    assert tokens_in(TRUE, SHAPES[0], context=CONTEXT, seconds=seconds) == CONTEXT


@given(SECONDS, st.floats(1.5, 50), st.floats(1e5, 1e10))
def test_more_time_wants_no_smaller_model(seconds: float, more: float, unique: float) -> None:
    def size(time: float) -> int:
        guess = guess_target(TRUE, SHAPES, context=CONTEXT, seconds=time, unique_tokens=unique)
        assert guess.epochs == guess.tokens / unique
        return count_parameters(guess.config).matmul

    assert size(seconds) <= size(seconds * more)


@pytest.mark.parametrize("seconds", [-20.0, 0.0, 0.01])
def test_where_no_time_is_left_the_smallest_is_expected(seconds: float) -> None:
    """Not the largest, of which one sequence would teach most if it could be had."""
    assert guess_target(TRUE, SHAPES, context=CONTEXT, seconds=seconds, unique_tokens=1e6).config == SHAPES[0]
