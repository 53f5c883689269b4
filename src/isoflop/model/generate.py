"""Text from a model, token by token, with a cache of keys and values."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from isoflop.model.transformer import Block, Transformer, inference


def generate(
    model: Transformer,
    ids: list[int],
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
    stop_id: int | None,
) -> list[int]:
    """New token ids that continue ``ids`` (at least one token), the prompt and ``stop_id`` left out.

    Temperature 0 takes the likeliest token; otherwise a token is drawn among the ``top_k`` likeliest (0: among
    all) by a generator of its own, so equal arguments give equal tokens. Every token is predicted from the last
    ``max_position_embeddings`` tokens: past that length positions shift and each token costs a full forward pass.
    """
    assert ids, "a prompt has at least one token: begin with <|endoftext|>"
    generator = torch.Generator().manual_seed(seed)
    context = model.config.max_position_embeddings
    sequence = list(ids)
    cache = Cache()
    with inference(model):
        while len(sequence) < len(ids) + max_new_tokens:
            if cache.num_tokens >= context:
                cache = Cache()
            unseen = sequence[cache.num_tokens :] if cache.num_tokens else sequence[-context:]
            token = _choose(next_logits(model, unseen, cache), temperature, top_k, generator)
            if token == stop_id:
                break
            sequence.append(token)
    return sequence[len(ids) :]


class Cache:
    """Keys and values [1, key_value_heads, tokens, K] of every layer, for the tokens seen so far."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.num_tokens = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Appends to a layer and returns all of it."""
        if layer in self.layers:
            past_k, past_v = self.layers[layer]
            k, v = torch.cat((past_k, k), dim=2), torch.cat((past_v, v), dim=2)
        self.layers[layer] = (k, v)
        return k, v


def next_logits(model: Transformer, ids: list[int], cache: Cache) -> Tensor:
    """Float32 logits [V] after ``ids``, which follow the tokens in ``cache``: several if it is empty, else one."""
    assert len(ids) == 1 or cache.num_tokens == 0
    block_ids = torch.tensor([ids], device=model.embed_tokens.weight.device)
    x, rotation = model.embed(block_ids, cache.num_tokens)
    for i, layer in enumerate(model.layers):
        x = _cached_block(cast(Block, layer), x, rotation, cache, i)
    cache.num_tokens += len(ids)
    logits: Tensor = model.lm_head(model.norm(x[0, -1]))
    return logits.float().cpu()


def _cached_block(layer: Block, x: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: Cache, index: int) -> Tensor:
    q, k, v = layer.self_attn.project(layer.input_layernorm(x), rotation)
    k, v = cache.extend(index, k, v)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1, enable_gqa=True)
    x = x + layer.self_attn.merge(y)
    mlp: Tensor = layer.mlp(layer.post_attention_layernorm(x))
    return x + mlp


def _choose(logits_V: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    count = min(top_k, len(logits_V)) if top_k else len(logits_V)
    values, tokens = logits_V.topk(count)
    chosen = torch.multinomial(torch.softmax(values / temperature, dim=-1), 1, generator=generator)
    return int(tokens[chosen])
