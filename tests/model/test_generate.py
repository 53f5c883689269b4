"""The cache changes the speed of generation and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from isoflop.model.config import ModelConfig
from isoflop.model.generate import generate
from isoflop.model.transformer import Transformer, build_model

torch.set_num_threads(1)
GREEDY: dict[str, Any] = {"temperature": 0.0, "top_k": 0, "seed": 0, "stop_id": None}


def tiny_model(family: str, **changes: Any) -> Transformer:
    fields: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": 12,
        "dropout": 0.5,
    }
    model = build_model(ModelConfig(family=family, **(fields | changes)), seed=3)
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.Generator().manual_seed(1))
    return model


@torch.inference_mode()
def greedy_without_cache(model: Transformer, ids: list[int], count: int) -> list[int]:
    model.eval()
    sequence = list(ids)
    for _ in range(count):
        window = torch.tensor([sequence[-model.config.max_position_embeddings :]])
        sequence.append(int(model(window)[0, -1].argmax()))
    return sequence[len(ids) :]


@pytest.mark.parametrize(("family", "changes"), [("llama", {"num_key_value_heads": 1}), ("qwen3", {}), ("gpt2", {})])
@pytest.mark.parametrize("prompt", [[7], [1, 2, 3, 4, 5], list(range(20))], ids=len)
def test_cached_equals_uncached_within_and_beyond_the_context(
    family: str, changes: dict[str, Any], prompt: list[int]
) -> None:
    model = tiny_model(family, **changes)
    tokens = generate(model, prompt, max_new_tokens=30, **GREEDY)
    assert tokens == greedy_without_cache(model, prompt, 30)
    assert len(set(tokens)) > 2


def test_generation_stops_before_the_stop_token() -> None:
    model = tiny_model("llama")
    tokens = generate(model, [7], max_new_tokens=10, **GREEDY)
    stop = tokens[4]
    assert generate(model, [7], max_new_tokens=10, **(GREEDY | {"stop_id": stop})) == tokens[: tokens.index(stop)]


def test_sampling_is_a_function_of_its_seed_alone() -> None:
    model = tiny_model("llama")
    options: dict[str, Any] = {"max_new_tokens": 20, "temperature": 2.0, "top_k": 0, "stop_id": None}
    torch.manual_seed(0)
    first = generate(model, [7], seed=1, **options)
    state = torch.get_rng_state()
    assert generate(model, [7], seed=1, **options) == first
    assert generate(model, [7], seed=2, **options) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_top_1_is_greedy_at_any_temperature() -> None:
    model = tiny_model("llama")
    greedy = generate(model, [7], max_new_tokens=10, **GREEDY)
    assert generate(model, [7], max_new_tokens=10, **(GREEDY | {"temperature": 5.0, "top_k": 1})) == greedy


def test_a_model_in_training_stays_in_training() -> None:
    model = tiny_model("llama").train()
    assert generate(model, [7], max_new_tokens=0, **GREEDY) == []
    assert model.training
    assert model.layers.training
