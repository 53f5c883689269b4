"""The ladder of shapes that may be trained: one depth a width, all of them exportable."""

from __future__ import annotations

from functools import cache

from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters

MIN_MATMUL_PARAMETERS = 30_000
"""Below this a model's loss leaves the power law (Minchilla saw it at 100 k)."""
_WIDTHS = (*range(32, 257, 32), *range(320, 769, 64), *range(896, 2049, 128), *range(2304, 4097, 256))


def shape(hidden_size: int, *, vocab_size: int, context: int) -> ModelConfig:
    """The ladder's model of this width: head size 64 where it divides, depth rising from width/40 to width/96."""
    head_dim = 64 if hidden_size % 64 == 0 and hidden_size >= 128 else 32
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=max(2, round(hidden_size / (32 + hidden_size / 32))),
        num_attention_heads=hidden_size // head_dim,
        head_dim=head_dim,
        intermediate_size=32 * round(hidden_size * 8 / 3 / 32),
        max_position_embeddings=context,
    )


@cache
def ladder(vocab_size: int, context: int) -> tuple[ModelConfig, ...]:
    """All shapes from the smallest that obeys the law to about 5 G parameters, in rising order of size."""
    shapes = [shape(width, vocab_size=vocab_size, context=context) for width in _WIDTHS]
    return tuple(config for config in shapes if count_parameters(config).matmul >= MIN_MATMUL_PARAMETERS)
