"""A decoder-only transformer whose tensors are Hugging Face's, fused where that is faster.

Queries, keys and values share one matrix, gate and up another; `export` splits them again.
Shapes: B sequences, T tokens, D hidden size, H heads, K head size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isoflop.model.config import EXPLICIT_ATTENTION_MAX_TOKENS, ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention with optional rotary positions, QK-norm and grouped keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        bias = config.family == "gpt2"
        fused = config.query_size + 2 * config.key_value_size
        self.qkv_proj = nn.Linear(config.hidden_size, fused, bias=bias)
        self.o_proj = nn.Linear(config.query_size, config.hidden_size, bias=bias)
        if config.family == "qwen3":
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None, mask_TT: Tensor) -> Tensor:
        y_BHTK = attend(*self.project(x_BTD, rotation), mask_TT)
        return self.merge(y_BHTK)

    def project(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, T, K], keys and values [B, key_value_heads, T, K], normed and rotated."""
        config = self.config
        B, T, _ = x_BTD.shape
        sizes = (config.query_size, config.key_value_size, config.key_value_size)
        q, k, v = self.qkv_proj(x_BTD).split(sizes, dim=-1)
        q = q.view(B, T, config.num_attention_heads, config.head_dim)
        k = k.view(B, T, config.num_key_value_heads, config.head_dim)
        v = v.view(B, T, config.num_key_value_heads, config.head_dim)
        if config.family == "qwen3":
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def merge(self, y_BHTK: Tensor) -> Tensor:
        """The heads' outputs side by side, projected back to [B, T, D]."""
        y_BTD: Tensor = self.o_proj(y_BHTK.transpose(1, 2).flatten(2))
        return y_BTD


def rotate(x_BTHK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotary position embedding, half-split as in Hugging Face's Llama (Su et al., arXiv 2104.09864)."""
    first, second = x_BTHK.chunk(2, dim=-1)
    swapped = torch.cat((-second, first), dim=-1)
    return x_BTHK * cos_TK[:, None, :] + swapped * sin_TK[:, None, :]


def attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, mask_TT: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(K)) v under a causal mask; grouped keys and values are repeated.

    The mask is read, not made here: compiled, its comparisons take longer than the exponentials (docs/log.md, 57).
    """
    groups = q_BHTK.shape[1] // k_BHTK.shape[1]
    if groups > 1:
        k_BHTK = k_BHTK.repeat_interleave(groups, dim=1)
        v_BHTK = v_BHTK.repeat_interleave(groups, dim=1)
    T = q_BHTK.shape[2]
    if q_BHTK.device.type != "cpu" or T > EXPLICIT_ATTENTION_MAX_TOKENS:
        return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
    scores = q_BHTK @ k_BHTK.transpose(-1, -2) * (1.0 / math.sqrt(q_BHTK.shape[-1]))
    return torch.softmax(scores + mask_TT[:T, :T], dim=-1) @ v_BHTK


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2020, arXiv 2002.05202); gate and up share one matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        y: Tensor = self.down_proj(F.silu(gate) * up)
        return y


class GeluMLP(nn.Module):
    """GPT-2's feed-forward layer, with its tanh approximation of GELU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down_proj(F.gelu(self.up_proj(x), approximate="tanh"))
        return y


def build_norm(config: ModelConfig) -> nn.Module:
    if config.family == "gpt2":
        return nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
    return RMSNorm(config.hidden_size, config.norm_eps)


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = build_norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = build_norm(config)
        self.mlp = GeluMLP(config) if config.family == "gpt2" else SwiGLU(config)
        self.dropout = nn.Dropout(config.dropout)
        self.recompute = False
        """Whether to keep its input alone for the backward pass, and compute all else once more (Chen et al. 2016,
        arXiv 1604.06174); set by the trainer."""

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, mask_TT: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            y: Tensor = checkpoint(self.through, x, rotation, mask_TT, use_reentrant=False)
            return y
        return self.through(x, rotation, mask_TT)

    def through(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, mask_TT: Tensor) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), rotation, mask_TT))
        y: Tensor = x + self.dropout(self.mlp(self.post_attention_layernorm(x)))
        return y


class Transformer(nn.Module):
    """Token ids [B, T] to logits [B, T, V], or to the mean loss in nats per token when targets are given."""

    cos: Tensor
    sin: Tensor
    mask: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.family == "gpt2":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = build_norm(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.label_smoothing = self.z_loss = 0.0
        """Set by the trainer."""
        self.loss_of = loss_of
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("mask", causal_mask(config), persistent=False)

    def forward(self, ids_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        x, rotation = self.embed(ids_BT)
        mask_TT = self.mask.to(x.dtype)
        for layer in self.layers:
            x = layer(x, rotation, mask_TT)
        if targets_BT is None:
            logits: Tensor = self.lm_head(self.norm(x))
            return logits
        return self.head_loss(x, targets_BT)

    def embed(self, ids_BT: Tensor, start: int = 0) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Embeddings [B, T, D] of tokens at positions ``start`` on, and the rotation of those positions."""
        x = self.embed_tokens(ids_BT)
        positions = slice(start, start + ids_BT.shape[1])
        if self.config.family == "gpt2":
            return self.dropout(x + self.embed_positions.weight[positions]), None
        return self.dropout(x), (self.cos[positions].to(x.dtype), self.sin[positions].to(x.dtype))

    def head_loss(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """What training minimises, in float32; a method of its own so that it can be compiled alone."""
        logits = self.lm_head(self.norm(x_BTD))
        logits = logits.view(-1, logits.shape[-1]).float()
        return self.loss_of(logits, targets_BT.reshape(-1), self.label_smoothing, self.z_loss)

    def recompute_blocks(self, wanted: bool) -> None:
        """Whether blocks keep their inputs alone for the backward pass."""
        for layer in self.layers:
            assert isinstance(layer, Block)
            layer.recompute = wanted

    def compile_parts(self) -> None:
        """Compiles one block (all layers share its code) and the head with its loss: most of the gain of
        compiling the whole, for a third of the time (docs/log.md)."""
        for layer in self.layers:
            layer.compile()
        self.head_loss = torch.compile(self.head_loss)  # type: ignore[method-assign]


def loss_of(logits_NV: Tensor, targets_N: Tensor, label_smoothing: float, z_loss: float) -> Tensor:
    """The mean next-token loss in nats, its targets smoothed (Szegedy et al. 2016), and the z-loss, which keeps the
    softmax's denominator near one (Chowdhery et al. 2022, arXiv 2204.02311, section 5)."""
    loss = F.cross_entropy(logits_NV, targets_N, label_smoothing=label_smoothing)
    if z_loss:
        loss = loss + z_loss * torch.logsumexp(logits_NV, dim=-1).square().mean()
    return loss


@contextmanager
def inference(model: Transformer) -> Iterator[None]:
    """No dropout and no autograd; the training mode comes back afterwards.

    Compiled blocks run eagerly meanwhile: shapes vary here, and each would be compiled anew.
    """
    compiled = any(layer._compiled_call_impl is not None for layer in model.layers)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        model.train(was_training)


def rotary_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, K] of position x theta^(-2i/K), each frequency twice (half-split layout)."""
    K = config.head_dim
    frequencies = config.rope_theta ** (-torch.arange(0, K, 2, dtype=torch.float32) / K)
    angles = torch.outer(torch.arange(config.max_position_embeddings, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def causal_mask(config: ModelConfig) -> Tensor:
    """[T, T]: zero where a token sees another, -inf above the diagonal; for what explicit attention takes at once."""
    T = min(config.max_position_embeddings, EXPLICIT_ATTENTION_MAX_TOKENS)
    return torch.full((T, T), float("-inf")).triu(1)


def build_model(config: ModelConfig, *, seed: int) -> Transformer:
    """A freshly initialised model, equal for equal (config, seed) on every machine.

    Matrices are drawn from N(0, 1/fan_in) and the two that write to the residual stream are scaled by
    1/sqrt(2 L) (Radford et al. 2019), so activations keep their size at every width and depth. Embeddings
    are drawn at unit size: the first norm would undo any other, and AdamW's step is relative to it. The
    head starts at zero: the first loss is ln V exactly.
    """
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    residual_scale = 1 / math.sqrt(2 * config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            continue  # norms start at one, biases are set to zero below
        std = 1 / math.sqrt(parameter.shape[1])
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std *= residual_scale
        if name.startswith("embed_tokens"):
            std = 1.0 if not config.tie_word_embeddings else std
        if name.startswith("embed_positions"):
            std = 0.02
        with torch.no_grad():
            parameter.normal_(0.0, std, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        if not config.tie_word_embeddings:
            model.lm_head.weight.zero_()
    return model
