"""A model whose layers several processes compute together: tensor parallelism (Shoeybi et al. 2019, arXiv 1909.08053).

Each process has some heads of every attention, some columns of every feed-forward layer and some words of the
vocabulary, and sees the whole batch. What enters a layer is everywhere alike, and what leaves it is the sum over
processes: two sums of activations a layer forward, two backward, where replicas would sum gradients once a step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from isoflop.core.errors import StudyError
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Attention, Block, RMSNorm, SwiGLU, Transformer
from isoflop.train.shares import EVERY, Divided

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

OPTION = "--tensor-parallel"
"""Of the command line, that asks for it."""


class Slices(Divided):
    """One of the processes of ``mesh``, which compute every layer together."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__(mesh)
        self._cuts: dict[int, tuple[int, torch.Size]] = {}
        """Dimension and whole shape, by parameter; those that are not here are whole everywhere."""

    def cut(self, model: Transformer) -> None:
        """Leaves this process its slice of the model. Raises `StudyError` where the model does not divide."""
        require_divisible(model.config, self.size)
        self.num_words = model.config.vocab_size
        words = self._part(model.embed_tokens.weight, 0, [self.num_words])
        model.embed_tokens = Words(words, self)
        for layer in model.layers:
            assert isinstance(layer, Block) and isinstance(layer.mlp, SwiGLU)
            self._cut_attention(layer.self_attn)
            self._cut_mlp(layer.mlp)
        tied = model.config.tie_word_embeddings
        head = words if tied else self._part(model.lm_head.weight, 0, [self.num_words])
        model.lm_head = Reading(head, self.group)
        model.loss_of = self.loss_of

    def loss_of(self, logits_NV: Tensor, targets_N: Tensor, label_smoothing: float, z_loss: float) -> Tensor:
        """As `isoflop.model.transformer.loss_of`, of the logits of the words that are here."""
        highest_N = logits_NV.detach().amax(dim=1)
        dist.all_reduce(highest_N, dist.ReduceOp.MAX, group=self.group)
        log_total_N = highest_N + leave((logits_NV - highest_N[:, None]).exp().sum(dim=1), self.group).log()
        own_N, here_N = self.own(targets_N, logits_NV.shape[1])
        right_N = leave(logits_NV.gather(1, own_N[:, None])[:, 0] * here_N, self.group)
        loss = (log_total_N - right_N).mean()
        if label_smoothing:
            mean_N = leave(logits_NV.sum(dim=1), self.group) / self.num_words
            loss = (1 - label_smoothing) * loss + label_smoothing * (log_total_N - mean_N).mean()
        return loss + z_loss * log_total_N.square().mean() if z_loss else loss

    def own(self, ids: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Places of ids among the ``count`` words that are here, zero for others; and which are among them."""
        places = ids - self.place * -(-self.num_words // self.size)  # all have as many but the last, as torch.chunk
        here = (places >= 0) & (places < count)
        return places * here, here

    def _cut_attention(self, attention: Attention) -> None:
        config = attention.config
        maps = [config.query_size, config.key_value_size, config.key_value_size]
        attention.qkv_proj = Reading(self._part(attention.qkv_proj.weight, 0, maps), self.group)
        attention.o_proj = Writing(self._part(attention.o_proj.weight, 1, [config.query_size]), self.group)
        if config.family == "qwen3":
            attention.q_norm, attention.k_norm = (
                HeadNorm(norm, self.group) for norm in (attention.q_norm, attention.k_norm)
            )
        heads, others = config.num_attention_heads, config.num_key_value_heads
        attention.config = replace(
            config, num_attention_heads=heads // self.size, num_key_value_heads=others // self.size
        )

    def _cut_mlp(self, mlp: SwiGLU) -> None:
        size = mlp.down_proj.in_features
        mlp.gate_up_proj = Reading(self._part(mlp.gate_up_proj.weight, 0, [size, size]), self.group)
        mlp.down_proj = Writing(self._part(mlp.down_proj.weight, 1, [size]), self.group)

    def _part(self, parameter: Tensor, cut: int, sizes: list[int]) -> nn.Parameter:
        """This process's part of a parameter, of each of the maps of these ``sizes`` that were fused in it."""
        maps = torch.split(parameter.detach(), sizes, dim=cut)
        part = nn.Parameter(torch.cat([each.chunk(self.size, dim=cut)[self.place] for each in maps], dim=cut))
        self._cuts[id(part)] = cut, parameter.shape
        return part

    def cut_of(self, parameter: Tensor) -> int | None:
        return self._cuts[id(parameter)][0] if id(parameter) in self._cuts else None

    def shape_of(self, parameter: Tensor, rows: slice) -> torch.Size:
        if id(parameter) not in self._cuts:
            return super().shape_of(parameter, rows)
        cut, shape = self._cuts[id(parameter)]
        if cut or rows == EVERY:
            return shape
        return torch.Size(((rows.stop - rows.start) * self.size, *shape[1:]))


def require_divisible(config: ModelConfig, size: int) -> None:
    """Raises `StudyError` where ``size`` processes cannot have equal slices of a model."""
    if config.family == "gpt2":
        raise StudyError("the gpt2 family is not cut into slices", where=OPTION, remedy="Leave it out")
    counts = {
        "attention heads": config.num_attention_heads,
        "key and value heads": config.num_key_value_heads,
        "columns of its feed-forward layers": config.intermediate_size,
    }
    fit = [n for n in range(2, config.num_key_value_heads + 1) if not any(count % n for count in counts.values())]
    remedy = f"It could be cut into {' or '.join(map(str, fit))}" if fit else "Leave it out"
    if (size - 1) * -(-config.vocab_size // size) >= config.vocab_size:
        raise StudyError(f"{config.vocab_size} words are too few for {size}", where=OPTION, remedy=remedy)
    for what, count in counts.items():
        if count % size:
            problem = f"the model has {count} {what}, which {size} processes cannot divide evenly"
            raise StudyError(problem, where=OPTION, remedy=remedy)


class _Enter(torch.autograd.Function):
    """What is everywhere alike, on its way to slices; each tells only part of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _summed(gradient, ctx.group), None


class _Leave(torch.autograd.Function):
    """The sum of what slices made, everywhere alike, as is what follows and so its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _summed(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def enter(x: Tensor, group: ProcessGroup) -> Tensor:
    y: Tensor = _Enter.apply(x, group)  # type: ignore[no-untyped-call]
    return y


def leave(x: Tensor, group: ProcessGroup) -> Tensor:
    y: Tensor = _Leave.apply(x, group)  # type: ignore[no-untyped-call]
    return y


class Sliced(nn.Linear):
    """A slice of a linear map without bias."""

    def __init__(self, weight: nn.Parameter, group: ProcessGroup) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight, self.group = weight, group


class Reading(Sliced):
    """Some rows of a map, so some of what it makes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(enter(x, self.group), self.weight)


class Writing(Sliced):
    """Some columns of a map, which has some of what it is made from."""

    def forward(self, x: Tensor) -> Tensor:
        return leave(F.linear(x, self.weight), self.group)


class HeadNorm(RMSNorm):
    """The norm that all heads share, some of which are here."""

    def __init__(self, norm: RMSNorm, group: ProcessGroup) -> None:
        super().__init__(len(norm.weight), norm.eps)
        self.weight, self.group = norm.weight, group

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), enter(self.weight, self.group), self.eps)


class Words(nn.Embedding):
    """The embeddings of some words; those of others come from elsewhere."""

    def __init__(self, weight: nn.Parameter, slices: Slices) -> None:
        super().__init__(weight.shape[0], weight.shape[1], device="meta")
        self.weight, self.slices = weight, slices

    def forward(self, ids_BT: Tensor) -> Tensor:
        own_BT, here_BT = self.slices.own(ids_BT, len(self.weight))
        return leave(F.embedding(own_BT, self.weight) * here_BT[..., None], self.slices.group)
