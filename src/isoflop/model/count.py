"""Exact parameters, floating-point operations and bytes of a model, from its configuration alone.

Letters: L layers, D hidden size, Q width of all query heads, KV width of all key (or value) heads, K head size,
F intermediate size, V vocabulary, H query heads, T tokens of context. No torch is loaded.
"""

from __future__ import annotations

from typing import Literal

from isoflop.core.products import ParameterCounts
from isoflop.model.config import EXPLICIT_ATTENTION_MAX_TOKENS, ModelConfig

Dtype = Literal["float32", "bfloat16"]
BYTES = {"float32": 4, "bfloat16": 2}
MASTER_BYTES = 4
"""Float32 masters are kept beside the weights whatever their type (train/optimizers.py)."""
MUON_MOMENT_BYTES = 4
MUON_WORKING_BYTES = 12
EXCHANGE_BYTES = 20
"""More where processes send each other parts of the matrices: padded, received, put together, cut again, received."""
ADAMW_MOMENT_BYTES = 8
HEAD_BYTES_PER_LOGIT = 12
"""Peak of the cross-entropy backward: log-softmax, its gradient and the logits' gradient, all float32."""


def count_parameters(config: ModelConfig) -> ParameterCounts:
    """The three counts; ``all`` equals the number of elements of the built model, a tied matrix once.

    ``matmul`` counts weight matrices only (no biases, no norms) and the head even where it is tied, so that
    6 x matmul is what a trained token costs outside attention.
    """
    blocks = config.num_hidden_layers * (_layer_matmul(config) + _layer_vectors(config))
    head = config.vocab_size * config.hidden_size
    non_embedding = blocks + _norm_size(config)
    untied_head = 0 if config.tie_word_embeddings else head
    return ParameterCounts(
        all=_embedding_size(config) + non_embedding + untied_head,
        non_embedding=non_embedding,
        matmul=config.num_hidden_layers * _layer_matmul(config) + head,
    )


def _layer_matmul(config: ModelConfig) -> int:
    attention = config.hidden_size * (2 * config.query_size + 2 * config.key_value_size)
    matrices = 2 if config.family == "gpt2" else 3
    return attention + matrices * config.hidden_size * config.intermediate_size


def _layer_vectors(config: ModelConfig) -> int:
    """Norms and biases of one layer."""
    norms = 2 * _norm_size(config)
    if config.family == "qwen3":
        return norms + 2 * config.head_dim
    if config.family == "gpt2":
        qkv_and_out = config.query_size + 2 * config.key_value_size + config.hidden_size
        return norms + qkv_and_out + config.intermediate_size + config.hidden_size
    return norms


def _norm_size(config: ModelConfig) -> int:
    """RMSNorm has a weight, LayerNorm a bias too."""
    return config.hidden_size * (2 if config.family == "gpt2" else 1)


def _embedding_size(config: ModelConfig) -> int:
    positions = config.max_position_embeddings if config.family == "gpt2" else 0
    return (config.vocab_size + positions) * config.hidden_size


def forward_flops_per_token(config: ModelConfig, *, context: int) -> float:
    """Multiply-adds counted as two, of one token in a forward pass over sequences of ``context`` tokens.

    2 x matmul parameters, and for attention q k^T and probabilities x v, each 2 T Q a layer over the full square,
    halved because a causal token sees T/2 others on average (PaLM, Chowdhery et al. 2022, arXiv 2204.02311,
    appendix B, counts the full square): 2 L T Q in all. Norms, softmax, activations and the embedding's lookup
    are left out (under 1 %). The work a model needs, that is, not what a kernel that fills the whole square does.
    """
    attention = 2 * config.num_hidden_layers * context * config.query_size
    return float(2 * count_parameters(config).matmul + attention)


def flops_per_token(config: ModelConfig, *, context: int) -> float:
    """FLOPs of one trained token: 6 x matmul parameters + 6 L T Q.

    The backward pass costs twice the forward (Kaplan et al. 2020, arXiv 2001.08361, section 2.1); the optimizer,
    which does not grow with tokens, is left out.
    """
    return 3 * forward_flops_per_token(config, context=context)


def memory_bytes(
    config: ModelConfig, batch_tokens: int, context: int, dtype: Dtype, *, recompute: bool = False, shares: int = 1
) -> int:
    """Expected peak bytes of all tensors in one training step on a CPU, run eagerly with Muon.

    Weights and gradients in ``dtype``, float32 masters, moments (one of Muon for the blocks' matrices, two of AdamW
    for the rest), and the larger of two moments: the backward pass (what every layer saved, and the working space of
    the head or of one layer) and the optimizer's step. Gradients are summed with the activations, though these go as
    those come: compiled blocks, which save less, stay below it. Resident memory is more by the process itself
    (interpreter, torch, its optimizers: 350 MB) and the allocator's slack (6 layers of 256, 4,096 tokens a batch:
    962 MB expected, 1,500 resident; in bfloat16 668 and 1,200). With ``recompute``, what a layer saves is there for one
    layer at a time, and of the others their inputs.

    With ``shares``, of one of so many processes that hold the model together (FSDP2): its part of the state and of the
    optimizer's step, of every batch the part that ``batch_tokens`` says, and beside them what is brought together. To
    be judged, the weights come to be in one of the processes.
    """
    backward = batch_tokens * _token_bytes(config, context, dtype, recompute)
    if shares == 1:
        return _state_bytes(config, dtype) + max(backward, _optimizer_working_bytes(config))
    exchanged = _optimizer_working_bytes(config) * (MUON_WORKING_BYTES + EXCHANGE_BYTES) // MUON_WORKING_BYTES
    working = max(exchanged // shares, count_parameters(config).all * BYTES[dtype])
    return _state_bytes(config, dtype) // shares + max(backward + _gathered_bytes(config, dtype), working)


def _optimizer_working_bytes(config: ModelConfig) -> int:
    """Muon takes all matrices of one shape at once: their gradients, quotients and products, float32 at the peak."""
    mlp = (1 if config.family == "gpt2" else 2) * config.hidden_size * config.intermediate_size
    attention = config.hidden_size * config.query_size
    if config.query_size == config.hidden_size:
        attention *= 4 if config.key_value_size == config.query_size else 2
    return MUON_WORKING_BYTES * config.num_hidden_layers * max(mlp, attention)


def _gathered_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """Weights and gradients of what is whole at one time: embedding and head, a layer, and weights of the next one."""
    layers = config.num_hidden_layers * _layer_matmul(config)
    outside = count_parameters(config).all - layers
    return BYTES[dtype] * (2 * outside + 3 * _layer_matmul(config))


def checkpoint_bytes(config: ModelConfig) -> int:
    """Bytes of masters and moments: a checkpoint's, and those of the copy that is written while training goes on."""
    parameters = count_parameters(config).all
    hidden = config.num_hidden_layers * _layer_matmul(config)
    return parameters * MASTER_BYTES + MUON_MOMENT_BYTES * hidden + ADAMW_MOMENT_BYTES * (parameters - hidden)


def _state_bytes(config: ModelConfig, dtype: Dtype) -> int:
    return count_parameters(config).all * 2 * BYTES[dtype] + checkpoint_bytes(config)


def _token_bytes(config: ModelConfig, context: int, dtype: Dtype, recompute: bool) -> int:
    """Bytes a token of the batch holds when the backward pass begins, and the most that it then adds."""
    layer, again = _layer_bytes(config, context, dtype), 0
    if recompute:
        layer, again = config.hidden_size * BYTES[dtype], layer
    saved = config.num_hidden_layers * layer + _norm_bytes(config, dtype)
    head = HEAD_BYTES_PER_LOGIT * config.vocab_size
    return saved + max(head, again + _layer_working_bytes(config, context, dtype))


def _layer_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """What autograd keeps of one layer for one token: inputs of every product, norm and activation.

    Attention keeps q, k (repeated for groups), v and its output, 4 Q, and either H T probabilities or H float32
    log-sums; SwiGLU gate and up in one tensor, silu(gate) and the product, 4 F; GELU its input and output, 2 F.
    """
    size = BYTES[dtype]
    attention = 4 * config.query_size * size + _scores_bytes(config, context, size)
    if config.family == "qwen3":
        attention += _head_norm_bytes(config, dtype)
    mlp = (2 if config.family == "gpt2" else 4) * config.intermediate_size * size
    dropout = 2 * config.hidden_size * size if config.dropout else 0
    return 2 * _norm_bytes(config, dtype) + attention + mlp + dropout


def _scores_bytes(config: ModelConfig, context: int, size: int) -> int:
    if context > EXPLICIT_ATTENTION_MAX_TOKENS:
        return config.num_attention_heads * 4
    return config.num_attention_heads * context * size


def _norm_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """Input and output of a norm; RMSNorm on CPUs is made of parts that keep float32 input and quotient too."""
    if config.family == "gpt2":
        return 2 * config.hidden_size * BYTES[dtype]
    return config.hidden_size * (2 * 4 + BYTES[dtype])


def _head_norm_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """QK-norm keeps float32 inputs (in float32 those are the fused projection, held once) and quotients."""
    normed = config.query_size + config.key_value_size
    return 2 * 4 * normed + (4 * config.key_value_size if dtype == "float32" else 0)


def _layer_working_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Gradients that one layer's backward has alive at once: three squares of scores, or the MLP's."""
    size = BYTES[dtype]
    mlp = (2 if config.family == "gpt2" else 4) * config.intermediate_size * size
    return max(3 * _scores_bytes(config, context, size), mlp)
