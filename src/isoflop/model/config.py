"""The shape of a model, in Hugging Face's own field names so that export is a rename.

Three families share one decoder-only block structure:

- ``llama``: RMSNorm, rotary positions, SwiGLU (Touvron et al. 2023, arXiv 2302.13971);
- ``qwen3``: the same with an RMSNorm on each query and key head (QK-norm);
- ``gpt2``: LayerNorm, learned positions, GELU, biases (Radford et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["llama", "qwen3", "gpt2"]
HEAD_DIMS = (32, 64, 128)
"""Head sizes that every inference engine we export to accepts (vLLM on CPU refuses others)."""
EXPLICIT_ATTENTION_MAX_TOKENS = 512
"""On CPUs explicit softmax attention beats flash attention's backward up to here (docs/log.md)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build a model; raises ``ValueError`` for a shape that cannot be exported."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    """Longest sequence, in tokens."""
    num_key_value_heads: int = 0
    """Heads of keys and values; 0 means as many as query heads (no grouping)."""
    head_dim: int = 0
    """Size of one head; 0 means hidden_size / num_attention_heads."""
    family: Family = "llama"
    tie_word_embeddings: bool = False
    dropout: float = 0.0
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        if not self.num_key_value_heads:
            set_field(self, "num_key_value_heads", self.num_attention_heads)
        if not self.head_dim:
            set_field(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.family not in ("llama", "qwen3", "gpt2"):
            raise ValueError(f"unknown model family {self.family!r}; choose llama, qwen3 or gpt2")
        self._check_head_dim()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}: Hugging Face refuses it"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.family == "gpt2":
            self._check_gpt2()

    def _check_head_dim(self) -> None:
        if self.head_dim not in HEAD_DIMS:
            raise ValueError(f"head_dim {self.head_dim} cannot be exported; choose one of {HEAD_DIMS}")

    def _check_gpt2(self) -> None:
        if self.num_key_value_heads != self.num_attention_heads:
            raise ValueError("the gpt2 family has no grouped-query attention")
        if self.head_dim * self.num_attention_heads != self.hidden_size:
            raise ValueError("the gpt2 family needs hidden_size = num_attention_heads x head_dim")

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Width of all key (or value) heads together."""
        return self.num_key_value_heads * self.head_dim
