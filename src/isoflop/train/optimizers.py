"""Which parameter of a model follows which rule (train/updates.py), clipping, and an average of the weights.

``muon``: Muon for the hidden matrices (Jordan et al. 2024; update size matched to AdamW's, Liu et al. 2025, arXiv
2502.16982), AdamW for embeddings, head and vectors. ``adamw``, ``lion`` and ``schedule-free`` are one rule for all,
with a rate for each group; ``lamb`` and ``sgd`` have one rate, of whatever width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn

from isoflop.core.products import OptimizerName, Recipe
from isoflop.model.transformer import Attention, SwiGLU, Transformer
from isoflop.train.shares import EVERY, WHOLE, Whole
from isoflop.train.updates import SGD, AdamW, Block, Lamb, Lion, Muon, Part, ScheduleFree

REFERENCE_WIDTH = 128
"""Width at which the hidden matrices and the head have the recipe's rate. At others they have as much less of it as
these are wider, and embeddings and vectors have the same, so that one rate suits all widths: muP's rates for Adam (Yang
et al. 2022, arXiv 2203.03466, table 8), which Muon's update, of the size of Adam's, was found to want too (docs/log.md,
55 and 58)."""
EMBEDDING_RATE_RATIO = 40.0
"""Embeddings are drawn at unit size and each row sees few tokens: they want a larger step (docs/log.md, 58)."""
HEAD_RATE_RATIO = 1.0
VECTOR_RATE_RATIO = 0.5
GROUPED: dict[OptimizerName, Callable[[list[Block], float, float], Part]] = {
    "muon": AdamW,
    "adamw": AdamW,
    "lion": Lion,
    "schedule-free": ScheduleFree,
}
"""Rules of all groups, but for the hidden matrices of muon."""
UNIFORM: dict[OptimizerName, Callable[[list[Block], float, float], Part]] = {"sgd": SGD, "lamb": Lamb}
"""Rules that have one rate for all."""
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)


class Optimizer:
    """All groups of a model; ``step`` takes the schedule's multiplier and leaves gradients cleared."""

    def __init__(self, model: Transformer, recipe: Recipe, shares: Whole = WHOLE) -> None:
        self.parameters, self.shares = list(model.parameters()), shares
        self.blocks = blocks_of(model, shares)
        self.clip_norm, self.average_decay = recipe.clip_norm, recipe.average_decay
        self.parts = dict(_build_parts(self.blocks, recipe, REFERENCE_WIDTH / model.config.hidden_size, shares))
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
    known = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    norms = torch._foreach_norm([shares.local(gradient) for _, gradient in known])
    return shares.norm([norm.float() for norm in norms], [shares.cut_of(parameter) for parameter, _ in known])


def _change(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Norm of the difference over the norm of what was before."""
    moved = torch.stack(torch._foreach_norm(torch._foreach_sub(after, before)))
    return torch.linalg.vector_norm(moved) / torch.linalg.vector_norm(torch.stack(torch._foreach_norm(before)))


def _build_parts(
    blocks: dict[str, list[Block]], recipe: Recipe, narrower: float, shares: Whole
) -> Iterator[tuple[str, Part]]:
    matrices, embeddings, heads, vectors = _sorted(blocks)
    others = embeddings + heads + vectors
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer in UNIFORM:
        yield "matrices", UNIFORM[recipe.optimizer](matrices, rate, decay)
        yield "others", UNIFORM[recipe.optimizer](others, rate, 0.0)
        return
    rule = GROUPED[recipe.optimizer]
    if recipe.optimizer == "muon":
        for name, stack in _stacks(blocks).items():
            yield name, Muon(stack, rate * narrower, decay, shares)
    else:
        yield "matrices", rule(matrices, rate * narrower, decay)
    yield "embeddings", rule(embeddings, rate * EMBEDDING_RATE_RATIO, 0.0)
    if heads:
        yield "head", rule(heads, rate * narrower * HEAD_RATE_RATIO, 0.0)
    yield "vectors", rule(vectors, rate * VECTOR_RATE_RATIO, 0.0)


def blocks_of(model: Transformer, shares: Whole) -> dict[str, list[Block]]:
    """By its name, the linear maps that each parameter is made of, from its first row to its last."""
    fused = _fused(model)
    return {
        name: [Block(parameter, shares, rows) for rows in fused.get(name, [EVERY])]
        for name, parameter in model.named_parameters()
    }


def _fused(model: Transformer) -> dict[str, list[slice]]:
    """The rows of each map, of parameters that have several."""
    rows: dict[str, list[slice]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            query, other = module.config.query_size, module.config.key_value_size
            ends = [query, query + other, query + 2 * other]
            rows[f"{name}.qkv_proj.weight"] = [slice(start, end) for start, end in pairwise([0, *ends])]
        elif isinstance(module, SwiGLU):
            size = module.down_proj.in_features
            rows[f"{name}.gate_up_proj.weight"] = [slice(0, size), slice(size, 2 * size)]
    return rows


def _sorted(blocks: dict[str, list[Block]]) -> tuple[list[Block], list[Block], list[Block], list[Block]]:
    """Hidden matrices, embeddings, head and vectors."""
    matrices, embeddings, heads, vectors = list[Block](), list[Block](), list[Block](), list[Block]()
    for name, own in blocks.items():
        if name.startswith("embed_"):
            embeddings += own
        elif name.startswith("lm_head"):
            heads += own
        elif own[0].parameter.ndim == 2:
            matrices += own
        else:
            vectors += own
    return matrices, embeddings, heads, vectors


def _stacks(blocks: dict[str, list[Block]]) -> dict[str, list[Block]]:
    """Hidden matrices of one shape, apart those that write to the residual stream: tensor parallelism cuts these along
    their columns and the others along their rows (`train.slices`)."""
    stacks: dict[str, list[Block]] = defaultdict(list)
    for name, own in blocks.items():
        if name.startswith("layers.") and own[0].parameter.ndim == 2:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            for block in own:
                stacks[f"muon_{block.shape[0]}x{block.shape[1]}" + "_out" * writes].append(block)
    return stacks
