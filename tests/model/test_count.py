"""Counts against hand-computed numbers, against built models and against torch's own counter."""

from __future__ import annotations

import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from isoflop.core.products import Recipe
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters, flops_per_token, forward_flops_per_token, memory_bytes
from isoflop.model.transformer import Transformer, build_model
from isoflop.train.optimizers import Optimizer

torch.set_num_threads(1)


def tiny(family: str = "llama", **changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "vocab_size": 100,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 176,
        "max_position_embeddings": 32,
    }
    return ModelConfig(family=family, **(fields | changes))


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    family = draw(st.sampled_from(["llama", "qwen3", "gpt2"]))
    heads = draw(st.sampled_from([1, 2, 4]))
    groups = 1 if family == "gpt2" else draw(st.sampled_from([g for g in (1, 2, 4) if heads % g == 0]))
    return ModelConfig(
        family=family,
        vocab_size=draw(st.integers(1, 70)),
        hidden_size=heads * 32 if family == "gpt2" else heads * draw(st.integers(8, 40)),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=heads,
        num_key_value_heads=heads // groups,
        head_dim=32,
        intermediate_size=draw(st.integers(1, 90)),
        max_position_embeddings=draw(st.integers(1, 40)),
        tie_word_embeddings=draw(st.booleans()),
    )


@given(configs())
@settings(max_examples=60, deadline=None)
def test_parameters_equal_the_built_models(config: ModelConfig) -> None:
    counts = count_parameters(config)
    with torch.device("meta"):
        model = Transformer(config)
    assert counts.all == sum(p.numel() for p in model.parameters())
    assert counts.non_embedding == sum(p.numel() for p in [*model.layers.parameters(), *model.norm.parameters()])
    matrices = sum(p.numel() for p in model.layers.parameters() if p.ndim == 2)
    assert counts.matmul == matrices + model.lm_head.weight.numel()


def test_parameters_by_hand() -> None:
    # per layer: q, k, v, o 4 x 64^2 = 16384; gate, up, down 3 x 64 x 176 = 33792; two norms 128; last norm 64
    counts = count_parameters(tiny())
    assert counts.matmul == 2 * (16384 + 33792) + 6400
    assert counts.non_embedding == 2 * (16384 + 33792 + 128) + 64
    assert counts.all == counts.non_embedding + 2 * 6400
    assert count_parameters(tiny(tie_word_embeddings=True)).all == counts.all - 6400


def test_flops_by_hand() -> None:
    # attention, forward: 2 layers x (q k^T 2 x 32 x 64 + p v 2 x 32 x 64) / 2 = 8192
    assert forward_flops_per_token(tiny(), context=32) == 2 * 106_752 + 8192
    assert flops_per_token(tiny(), context=32) == 6 * 106_752 + 6 * 2 * 32 * 64


@pytest.mark.parametrize("config", [tiny(), tiny("qwen3", num_key_value_heads=1), tiny("gpt2")], ids=lambda c: c.family)
def test_flops_equal_torchs_counter_on_the_full_square(config: ModelConfig) -> None:
    """The kernel fills the whole square, so the counter sees attention twice."""
    model, context = build_model(config, seed=0), 32
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros((3, context), dtype=torch.int64))
    attention = 2 * config.num_hidden_layers * context * config.query_size
    expected = forward_flops_per_token(config, context=context) + attention
    assert counter.get_total_flops() == 3 * context * expected


def test_training_costs_three_forwards() -> None:
    """The first layer's input needs no gradient only at the embedding, which is no product: 3x is exact."""
    model, ids = build_model(tiny(), seed=0), torch.zeros((2, 32), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(ids, ids).backward()
    attention = 6 * 2 * 32 * 64
    assert counter.get_total_flops() == 64 * (flops_per_token(tiny(), context=32) + attention)


class PeakBytes(TorchDispatchMode):
    """Bytes of all tensor storages alive at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak, self.seen = 0, 0, weakref.WeakSet[torch.UntypedStorage]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.watch(leaf.untyped_storage())
        return result

    def watch(self, storage: torch.UntypedStorage) -> None:
        if storage in self.seen:
            return
        self.seen.add(storage)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self.release, storage.nbytes())

    def release(self, nbytes: int) -> None:
        self.alive -= nbytes


def measured_peak(config: ModelConfig, batch_tokens: int, context: int, dtype: str, *, recompute: bool = False) -> int:
    recipe = Recipe("muon", context, batch_tokens, 2, 0.01, 0.0, 0.0, 0.0, 1.0, 0, batch_tokens)
    ids = torch.zeros((batch_tokens // context, context), dtype=torch.int64)
    with PeakBytes() as peak:
        model = build_model(config, seed=0).to(getattr(torch, dtype))
        model.recompute_blocks(recompute)
        optimizer = Optimizer(model, recipe)
        for _ in range(2):
            model(ids, ids).backward()
            optimizer.step(1.0)
    return peak.peak


SHAPES = {
    "activations": (tiny(max_position_embeddings=128), 1024, 128),
    "logits": (tiny(vocab_size=4096, num_hidden_layers=1), 512, 32),
    "flash": (tiny(max_position_embeddings=640, num_key_value_heads=1), 640, 640),
    "weights": (tiny(hidden_size=256, intermediate_size=704, num_attention_heads=8, num_hidden_layers=4), 64, 32),
    "qwen3": (tiny("qwen3", num_key_value_heads=1), 1024, 32),
    "gpt2": (tiny("gpt2", dropout=0.1), 1024, 32),
}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_near_a_measured_step(shape: str, dtype: str, recompute: bool) -> None:
    config, batch_tokens, context = SHAPES[shape]
    expected = memory_bytes(config, batch_tokens, context, dtype, recompute=recompute)  # type: ignore[arg-type]
    measured = measured_peak(config, batch_tokens, context, dtype, recompute=recompute)
    assert 0.77 < expected / measured < 1.3


def test_counting_loads_no_torch() -> None:
    code = "import sys, isoflop.model.count; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
