"""Models to be reckoned with: of a given size, of a Hugging Face configuration, or of published dimensions."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoflop.core.errors import BudgetError
from isoflop.model.config import ModelConfig

VOCAB_SIZE = 32_000
HEAD_DIM = 128
SMALLEST = 1e7
_STEPS = ((1e9, 64, 1), (1e10, 256, 2), (1e11, 1024, 4), (math.inf, 1024, 8))
"""Below so many parameters: widths and depths are multiples of this."""
_FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen3ForCausalLM": "qwen3",
    "GPT2LMHeadModel": "gpt2",
}


@dataclass(frozen=True, kw_only=True)
class Shape(ModelConfig):
    """One that our export may refuse: heads of any size."""

    def _check_head_dim(self) -> None:
        pass


def shape_of_size(num_parameters: float, *, context: int, vocab_size: int = VOCAB_SIZE) -> Shape:
    """A Llama-like model of about so many parameters, all of them (5 %), whose layers and heads divide well.

    Width over depth grows from 64 at 125 M parameters to 128 at 7 G and beyond, as in GPT-3's and Llama's families
    (Brown et al. 2020, table 2.1; Touvron et al. 2023, table 2).
    """
    if num_parameters < SMALLEST:
        raise BudgetError(f"{num_parameters:g} parameters", where="--params", remedy=f"Estimates begin at {SMALLEST:g}")
    ratio = min(128.0, 64 * max(1.0, num_parameters / 1.25e8) ** 0.17)
    unit, step = next(each for most, *each in _STEPS if num_parameters < most)
    widths = range(unit, 1 << 16, unit)
    width = min(widths, key=lambda width: abs(_size(width, width / ratio, vocab_size) - num_parameters))
    depths = range(step, 512, step)
    depth = min(depths, key=lambda depth: abs(_size(width, depth, vocab_size) - num_parameters))
    return Shape(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // (HEAD_DIM if width % HEAD_DIM == 0 else 64),
        intermediate_size=64 * round(width * 8 / 3 / 64),
        max_position_embeddings=context,
    )


def _size(width: int, depth: float, vocab_size: int) -> float:
    """Parameters, about."""
    return 12 * width**2 * depth + 2 * vocab_size * width


def read_shape(path: Path, *, context: int | None = None) -> Shape:
    """That of a Hugging Face ``config.json``; raises `BudgetError` for one that cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _of_hugging_face(value, context)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"no model configuration that can be reckoned with ({type(error).__name__}: {error})"
        remedy = f"Give a config.json of {', '.join(_FAMILIES)}; or --params"
        raise BudgetError(what, where=str(path), remedy=remedy) from error


def _of_hugging_face(value: dict[str, Any], context: int | None) -> Shape:
    family = _FAMILIES[value["architectures"][0]]
    if family == "gpt2":
        width = value["n_embd"]
        return Shape(
            vocab_size=value["vocab_size"],
            hidden_size=width,
            num_hidden_layers=value["n_layer"],
            num_attention_heads=value["n_head"],
            intermediate_size=value.get("n_inner") or 4 * width,
            max_position_embeddings=value["n_positions"],
            family="gpt2",
            tie_word_embeddings=value.get("tie_word_embeddings", True),
        )
    return Shape(
        vocab_size=value["vocab_size"],
        hidden_size=value["hidden_size"],
        num_hidden_layers=value["num_hidden_layers"],
        num_attention_heads=value["num_attention_heads"],
        num_key_value_heads=value.get("num_key_value_heads") or 0,
        head_dim=value.get("head_dim") or 0,
        intermediate_size=value["intermediate_size"],
        max_position_embeddings=context or value["max_position_embeddings"],
        family=family,  # type: ignore[arg-type]
        tie_word_embeddings=value.get("tie_word_embeddings", False),
    )
