"""Which parameter of a model follows which rule (train/updates.py), clipping, and an average of the weights.

``muon``: Muon for the hidden matrices (Jordan et al. 2024; update size matched to AdamW's, Liu et al. 2025, arXiv
2502.16982), AdamW for embeddings, head and vectors. ``adamw``, ``lion`` and ``schedule-free`` are one rule for all,
with a rate for each group; ``lamb`` and ``sgd`` have one rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from isoflop.core.products import OptimizerName, Recipe
from isoflop.model.transformer import Attention, GeluMLP, SwiGLU, Transformer
from isoflop.train.shares import WHOLE, Whole
from isoflop.train.updates import SGD, AdamW, Block, Lamb, Lion, Muon, Part, ScheduleFree

EMBEDDING_RATE_RATIO = 20.0
"""Embeddings are drawn at unit size and each row sees few tokens: they want a larger step (docs/log.md)."""
HEAD_RATE_RATIO = 1.0
VECTOR_RATE_RATIO = 0.5
GROUPED: dict[OptimizerName, Callable[[list[Tensor], float, float, Whole], Part]] = {
    "muon": AdamW,
    "adamw": AdamW,
    "lion": Lion,
    "schedule-free": ScheduleFree,
}
"""Rules of all groups, but for the hidden matrices of muon."""
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)


class Optimizer:
    """All groups of a model; ``step`` takes the schedule's multiplier and leaves gradients cleared."""

    def __init__(self, model: Transformer, recipe: Recipe, shares: Whole = WHOLE) -> None:
        self.parameters, self.shares = list(model.parameters()), shares
        self.clip_norm, self.average_decay = recipe.clip_norm, recipe.average_decay
        self.parts = dict(_build_parts(model, recipe, shares))
        self.num_averaged = torch.zeros(())
        averaged = self.parts.items() if recipe.average_decay else ()
        self.watched = False
        """Whether the next step measures ``update_ratio``; a copy of the weights, so not at every step."""
        self.update_ratio: Tensor | None = None
        """Of the hidden matrices, or of this process's share of them."""
        self.averages = {name: [master.clone() for master in part.masters_to_keep()] for name, part in averaged}

    def step(self, rate_scale: float) -> tuple[Tensor, Tensor]:
        """One update; returns the gradient norm before clipping and whether it was clipped, as scalars."""
        norm = gradient_norm(self.parameters, self.shares)
        shrink = (self.clip_norm / norm).clamp(max=1.0)
        for parameter in self.parameters:
            assert parameter.grad is not None
            self.shares.local(parameter.grad).mul_(shrink)
        before = [master.clone() for master in self._hidden()] if self.watched else []
        for part in self.parts.values():
            part.step(rate_scale)
        if self.watched:
            self.update_ratio, self.watched = _change(before, self._hidden()), False
        for parameter in self.parameters:
            parameter.grad = None
        if self.averages:
            self._average()
        return norm, (shrink < 1.0).float()

    def _hidden(self) -> list[Tensor]:
        """The hidden matrices' masters."""
        parts = (part for name, part in self.parts.items() if name.startswith(("muon", "matrices")))
        return [master for part in parts for master in part.masters_to_keep()]

    def _average(self) -> None:
        """Moves the averages (Polyak & Juditsky 1992, with exponential weights) to the masters.

        Over few steps their memory is short, or they would hold little but the weights that the run began with.
        """
        self.num_averaged += 1
        count = float(self.num_averaged)
        decay = min(self.average_decay, (1 + count) / (10 + count))
        for name, averages in self.averages.items():
            for average, master in zip(averages, self.parts[name].masters_to_keep(), strict=True):
                average.lerp_(master, 1 - decay)

    def publish(self) -> None:
        """Makes the model's weights follow the masters, after those were set from outside."""
        for part in self.parts.values():
            part.publish()

    def publish_kept(self) -> None:
        """Gives the model the weights that the run is after: averages, where there are such."""
        for name, part in self.parts.items():
            part.publish(self.averages.get(name, part.masters_to_keep()))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block the model has those weights."""
        self.publish_kept()
        try:
            yield
        finally:
            self.publish()

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, masters included, by name; the tensors themselves."""
        state = {f"{name}.{key}": value for name, part in self.parts.items() for key, value in part.state().items()}
        for name, averages in self.averages.items():
            described = self.parts[name].described(averages)
            state |= {f"{name}.{i}.average": average for i, average in enumerate(described)}
        return state | ({"num_averaged": self.num_averaged} if self.averages else {})


def gradient_norm(parameters: list[nn.Parameter], shares: Whole = WHOLE) -> Tensor:
    """Euclidean norm of all gradients together, in float32."""
    norms = torch._foreach_norm([shares.local(p.grad) for p in parameters if p.grad is not None])
    return shares.norm(torch.linalg.vector_norm(torch.stack([norm.float() for norm in norms])))


def _change(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Norm of the difference over the norm of what was before."""
    moved = torch.stack(torch._foreach_norm(torch._foreach_sub(after, before)))
    return torch.linalg.vector_norm(moved) / torch.linalg.vector_norm(torch.stack(torch._foreach_norm(before)))


def _build_parts(model: Transformer, recipe: Recipe, shares: Whole) -> Iterator[tuple[str, Part]]:
    matrices, embeddings, heads, vectors = _sort_parameters(model)
    others = embeddings + heads + vectors
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        yield "matrices", SGD(matrices, rate, decay, shares)
        yield "others", SGD(others, rate, 0.0, shares)
        return
    if recipe.optimizer == "lamb":
        yield "matrices", Lamb(matrices, _pieces(matrices, _blocks(model, shares)), rate, decay, shares)
        yield "others", Lamb(others, [[slice(None)] for _ in others], rate, 0.0, shares)
        return
    rule = GROUPED[recipe.optimizer]
    if recipe.optimizer == "muon":
        for shape, blocks in _by_shape(_blocks(model, shares)).items():
            yield f"muon_{shape[0]}x{shape[1]}", Muon(blocks, rate, decay, shares)
    else:
        yield "matrices", rule(matrices, rate, decay, shares)
    yield "embeddings", rule(embeddings, rate * EMBEDDING_RATE_RATIO, 0.0, shares)
    if heads:
        yield "head", rule(heads, rate * HEAD_RATE_RATIO, 0.0, shares)
    yield "vectors", rule(vectors, rate * VECTOR_RATE_RATIO, 0.0, shares)


def _pieces(matrices: list[Tensor], blocks: Iterator[Block]) -> list[list[slice]]:
    """The rows of the blocks that each of the matrices is made of."""
    rows: dict[int, list[slice]] = defaultdict(list)
    for block in blocks:
        rows[id(block.parameter)].append(slice(block.start, block.stop))
    return [rows[id(matrix)] for matrix in matrices]


def _sort_parameters(model: Transformer) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    matrices, embeddings, heads, vectors = [], [], [], []
    for name, parameter in model.named_parameters():
        if name.startswith("embed_"):
            embeddings.append(parameter)
        elif name.startswith("lm_head"):
            heads.append(parameter)
        elif parameter.ndim == 2:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    return list(matrices), list(embeddings), list(heads), list(vectors)


def _blocks(model: Transformer, shares: Whole) -> Iterator[Block]:
    for module in model.layers.modules():
        if isinstance(module, Attention):
            query, other = module.config.query_size, module.config.key_value_size
            weight = module.qkv_proj.weight
            for start, stop in ((0, query), (query, query + other), (query + other, query + 2 * other)):
                yield Block(weight, start, stop, shares)
            yield Block(module.o_proj.weight, 0, module.o_proj.weight.shape[0], shares)
        elif isinstance(module, SwiGLU):
            rows = module.gate_up_proj.weight.shape[0]
            yield Block(module.gate_up_proj.weight, 0, rows // 2, shares)
            yield Block(module.gate_up_proj.weight, rows // 2, rows, shares)
            yield Block(module.down_proj.weight, 0, module.down_proj.weight.shape[0], shares)
        elif isinstance(module, GeluMLP):
            yield Block(module.up_proj.weight, 0, module.up_proj.weight.shape[0], shares)
            yield Block(module.down_proj.weight, 0, module.down_proj.weight.shape[0], shares)


def _by_shape(blocks: Iterator[Block]) -> dict[tuple[int, int], list[Block]]:
    groups: dict[tuple[int, int], list[Block]] = defaultdict(list)
    for block in blocks:
        groups[block.shape].append(block)
    return groups
