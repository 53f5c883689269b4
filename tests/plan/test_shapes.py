from __future__ import annotations

from itertools import pairwise

import pytest

from isoflop.model.config import HEAD_DIMS
from isoflop.model.count import count_parameters
from isoflop.plan.shapes import MIN_MATMUL_PARAMETERS, ladder


@pytest.mark.parametrize("vocab_size", [300, 2048, 32_000])
def test_the_ladder_rises_and_can_be_exported(vocab_size: int) -> None:
    shapes = ladder(vocab_size, 256)
    sizes = [count_parameters(shape).matmul for shape in shapes]
    assert sizes == sorted(set(sizes))
    assert sizes[0] >= MIN_MATMUL_PARAMETERS
    assert sizes[-1] > 1e9
    for shape in shapes:  # the config's own checks refuse what Hugging Face or an engine would
        assert shape.head_dim in HEAD_DIMS
        assert shape.num_attention_heads * shape.head_dim == shape.hidden_size
        assert shape.intermediate_size % 32 == 0
        assert (shape.vocab_size, shape.max_position_embeddings) == (vocab_size, 256)
        assert shape.num_hidden_layers >= 2


def test_steps_of_the_ladder_are_small_enough_to_plan_with() -> None:
    sizes = [count_parameters(shape).matmul for shape in ladder(2048, 256)]
    assert max(b / a for a, b in pairwise(sizes[2:])) < 2.2
    depths = [shape.num_hidden_layers for shape in ladder(2048, 256)]
    assert depths == sorted(depths)
