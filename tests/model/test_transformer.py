"""What the transformer promises whatever its shape."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from isoflop.model import transformer
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Transformer, build_model, inference, rotary_tables, rotate

torch.set_num_threads(1)
FAMILIES = ["llama", "qwen3", "gpt2"]


def tiny(family: str = "llama", **changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": 16,
    }
    return ModelConfig(family=family, **(fields | changes))


def with_random_head(config: ModelConfig) -> Transformer:
    model = build_model(config, seed=0)
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.Generator().manual_seed(1))
    return model


def some_ids(count: int = 16) -> torch.Tensor:
    return torch.randint(0, 50, (3, count), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_token_sees_the_future(family: str) -> None:
    model, ids = with_random_head(tiny(family)), some_ids()
    changed = ids.clone()
    changed[:, 9:] = 0
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_ln_v(family: str) -> None:
    loss = build_model(tiny(family), seed=0)(some_ids(), some_ids())
    assert loss.item() == pytest.approx(math.log(50), abs=1e-6)


def test_the_loss_is_the_mean_cross_entropy_of_the_logits() -> None:
    model, ids = with_random_head(tiny()), some_ids()
    expected = F.cross_entropy(model(ids).transpose(1, 2), ids)
    assert model(ids, ids).item() == pytest.approx(expected.item(), rel=1e-6)


def test_explicit_and_flash_attention_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = with_random_head(tiny(num_key_value_heads=1)), some_ids()
    explicit = model(ids)
    monkeypatch.setattr(transformer, "EXPLICIT_ATTENTION_MAX_TOKENS", 0)
    torch.testing.assert_close(model(ids), explicit, atol=1e-4, rtol=1e-4)


def test_rotation_depends_on_distance_alone() -> None:
    cos, sin = rotary_tables(tiny())
    q, k = torch.randn(2, 1, 1, 1, 32, generator=torch.Generator().manual_seed(0)).expand(2, 1, 16, 1, 32)
    products = rotate(q, cos, sin)[0, :, 0] @ rotate(k, cos, sin)[0, :, 0].T
    for distance in (0, 1, 5):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(products[0, 0], products[5, 0])


def test_equal_seeds_build_equal_models() -> None:
    first, second, other = (build_model(tiny(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed_tokens.weight"], other["embed_tokens.weight"])


def test_inference_switches_dropout_off_and_training_back_on() -> None:
    model = with_random_head(tiny(dropout=0.5)).train()
    with inference(model):
        assert torch.equal(model(some_ids()), model(some_ids()))
        assert not model(some_ids()).requires_grad
    assert model.layers[0].dropout.training
    assert not torch.equal(model(some_ids()), model(some_ids()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "bert"}, "unknown model family 'bert'"),
        ({"head_dim": 48}, "head_dim 48 cannot be exported"),
        ({"num_attention_heads": 3, "head_dim": 32}, "hidden_size 64 is not a multiple"),
        ({"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 3}, "not a multiple of num_key_value"),
        ({"family": "gpt2", "num_key_value_heads": 1}, "no grouped-query attention"),
        ({"family": "gpt2", "head_dim": 64}, "hidden_size = num_attention_heads x head_dim"),
    ],
)
def test_shapes_that_cannot_be_exported_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**({"family": "llama"} | changes))
