"""Tensors of which each process holds all, or a part, and a model whose every tensor is cut so (FSDP2).

A rule that works element by element needs to know nothing of it; one that looks at whole matrices is brought some of
them, and the other processes do theirs (`by_whole_matrices`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from isoflop.core.errors import StudyError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from isoflop.model.config import ModelConfig
    from isoflop.model.transformer import Transformer


EVERY = slice(None)
"""All rows of a parameter."""


def shares_evenly(config: ModelConfig, size: int) -> bool:
    """Whether so many processes can share a model: they divide its matrices by columns."""
    return not any(columns % size for columns in (config.hidden_size, config.query_size, config.intermediate_size))


def require_even(config: ModelConfig, size: int) -> None:
    """Raises `StudyError` where so many processes cannot share a model."""
    if not shares_evenly(config, size):
        what = f"{size} processes cannot share evenly the columns of this model's matrices"
        raise StudyError(what, where="--sharded", remedy="Take another number of --ranks, or --no-sharded")


class Whole:
    """A process that holds all of every tensor."""

    def cut_of(self, parameter: Tensor) -> int | None:
        """The dimension along which processes divide a parameter of the model; None where each has all of it."""
        return None

    def shape_of(self, parameter: Tensor, rows: slice) -> torch.Size:
        """Of all of what ``rows`` of the parameter are here."""
        return parameter[rows].shape

    def local(self, tensor: Tensor) -> Tensor:
        """What of ``tensor`` is here; its own memory."""
        return tensor

    def describe(self, local: Tensor, shape: torch.Size, cut: int | None) -> Tensor:
        """``local`` as what is here of a tensor of ``shape``; a scalar is everywhere alike."""
        return local

    def gather(self, tensor: Tensor) -> Tensor:
        """All of a tensor that `describe` told of; called by all processes."""
        return tensor

    def scatter(self, tensor: Tensor, whole: Tensor) -> None:
        """Puts the first process's ``whole``, or each one's part of it, into ``tensor``; called by all processes."""
        dist.broadcast(whole, 0)
        tensor.copy_(whole)

    def norm(self, norms: Sequence[Tensor], cuts: Sequence[int | None]) -> Tensor:
        """The Euclidean norm of tensors together, a scalar, by those of what is here; called by all processes."""
        return torch.linalg.vector_norm(torch.stack(list(norms)))

    def by_whole_matrices(self, work: Callable[[Tensor], Tensor], stack: Tensor, cut: int | None) -> Tensor:
        """``work`` on a stack [n, rows, columns] of matrices, of which come and go the rows or columns that are here,
        as each matrix is ``cut``."""
        return work(stack)


WHOLE = Whole()


class Replicas(Whole):
    """One of several processes that hold all of every tensor alike, and divide what is done to whole matrices."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def by_whole_matrices(self, work: Callable[[Tensor], Tensor], stack: Tensor, cut: int | None) -> Tensor:
        """Each process does its part of the matrices; all get all of what came of it, to the same bits."""
        num = len(stack)
        each = -(-num // self.size)
        mine = F.pad(stack, (0, 0, 0, 0, 0, each * self.size - num))[self.rank * each : (self.rank + 1) * each]
        return self._gathered(work(mine))[:num]

    def _gathered(self, part: Tensor) -> Tensor:
        """The parts of all processes, one after another; gloo's own gathering takes twice as long."""
        sent = part.repeat(self.size, 1, 1)
        together = torch.empty_like(sent)
        dist.all_to_all_single(together, sent)
        return together


class Divided(Whole):
    """One of the processes of ``mesh``, which hold a model together."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh, self.group, self.size, self.place = mesh, mesh.get_group(), mesh.size(), mesh.get_local_rank()

    def local(self, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        with torch.no_grad():
            return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def describe(self, local: Tensor, shape: torch.Size, cut: int | None) -> Tensor:
        from torch.distributed.tensor import DTensor, Shard

        if cut is None or not local.ndim:
            return local
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(local, self.mesh, [Shard(cut)], run_check=False, shape=shape, stride=stride)

    def gather(self, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def scatter(self, tensor: Tensor, whole: Tensor) -> None:
        from torch.distributed.tensor import DTensor, Shard

        dist.broadcast(whole, 0)
        if isinstance(tensor, DTensor):
            (placement,) = tensor.placements
            assert isinstance(placement, Shard)
            whole = whole.chunk(self.size, dim=placement.dim)[self.place]
        self.local(tensor).copy_(whole)

    def norm(self, norms: Sequence[Tensor], cuts: Sequence[int | None]) -> Tensor:
        """What all hold is counted once: each process counts its part of it."""
        parts = [1.0 if cut is not None else self.size**-0.5 for cut in cuts]
        square = torch.stack(torch._foreach_mul(list(norms), parts)).square().sum()
        dist.all_reduce(square, group=self.group)
        return square.sqrt_()

    def by_whole_matrices(self, work: Callable[[Tensor], Tensor], stack: Tensor, cut: int | None) -> Tensor:
        if cut == 0:
            return self._by_columns(lambda whole: work(whole.mT).mT, stack.mT).mT
        return self._by_columns(work, stack)

    def _by_columns(self, work: Callable[[Tensor], Tensor], stack: Tensor) -> Tensor:
        """Each process is sent all columns of every ``size``-th part of the matrices, and sends back what is theirs."""
        num, rows, columns = stack.shape
        each = -(-num // self.size)
        sent = F.pad(stack, (0, 0, 0, 0, 0, each * self.size - num))
        mine = self._exchange(sent).view(self.size, each, rows, columns)
        done = work(mine.permute(1, 2, 0, 3).reshape(each, rows, self.size * columns))
        back = done.reshape(each, rows, self.size, columns).permute(2, 0, 1, 3)
        return self._exchange(back).view(each * self.size, rows, columns)[:num]

    def _exchange(self, parts: Tensor) -> Tensor:
        """The i-th of equal parts goes to process i; what comes from there takes its place."""
        received = torch.empty(parts.shape, dtype=parts.dtype, device=parts.device)
        dist.all_to_all_single(received, parts.contiguous(), group=self.group)
        return received


class Shares(Divided):
    """Processes that hold a share of every tensor (FSDP2) and bring those of one block together when it comes to be.

    All tensors are cut along their last dimension, so a matrix by columns: the rows of one map that the model fused
    with others are then rows of the share too, wherever its bounds are.
    """

    def cut(self, model: Transformer) -> None:
        """Leaves this process its share of the model, which from now on brings the weights of a block together when it
        comes to be, and averages gradients, each where its weight is (Zhao et al. 2023, arXiv 2304.11277).

        Raises `StudyError` where matrices do not divide.
        """
        from torch.distributed.fsdp import FSDPModule, fully_shard
        from torch.distributed.tensor import Shard

        require_even(model.config, self.size)
        for module in (*model.layers, model):
            fully_shard(module, mesh=self.mesh, shard_placement_fn=lambda parameter: Shard(parameter.ndim - 1))
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no mean

    def cut_of(self, parameter: Tensor) -> int | None:
        return parameter.ndim - 1

    def shape_of(self, parameter: Tensor, rows: slice) -> torch.Size:
        start, stop, _ = rows.indices(parameter.shape[0])
        return torch.Size((stop - start, *parameter.shape[1:]))
