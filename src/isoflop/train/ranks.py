"""Several processes that train one model: the first decides, the others do as they are told.

Whether to step, from which place of the stream and at which rate, is the leader's to say, step by step, in one message
of three numbers; so everything that a run decides by the clock, by its losses or by a signal is decided once, and a
follower needs neither clock nor records. Gradients are averaged by PyTorch's DistributedDataParallel. The batch is cut
by sequences, so that its text, and up to rounding what it teaches, is the same for any number of processes.
"""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from isoflop.core.errors import StudyError
from isoflop.train.shares import Replicas, Shares
from isoflop.train.slices import Slices

if TYPE_CHECKING:
    from isoflop.model.transformer import Transformer
    from isoflop.train.trainer import Trainer

STEP, SHARE, GATHER, WEIGHTS, COMPARE, END = range(6)
TIMEOUT = timedelta(hours=1)
"""The longest that a process waits for the others: the leader may compile, validate or save meanwhile, and its watchdog
(`train.watchdog`) is to find first what hangs."""
STORE = "ISOFLOP_STORE"
"""Environment variable: the file by which processes of one machine find each other; torchrun's variables otherwise."""


class Team(ABC):
    """This process among several that train one model."""

    def __init__(self, rank: int, size: int, *, device: torch.device) -> None:
        self.rank, self.size = rank, size
        self.part, self.parts = rank, size
        """Which part of every batch is this process's, and of how many."""
        if device.type == "cuda":
            torch.cuda.set_device(device)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def rows(self, sequences: int) -> slice:
        """This process's sequences of a batch. Raises `StudyError` where there are fewer of them than parts."""
        if sequences < self.parts:
            what = f"a batch of {sequences} sequences cannot be cut into {self.parts} parts"
            raise StudyError(what, remedy=f"Take at most {sequences * self.size // self.parts} processes")
        return slice(sequences * self.part // self.parts, sequences * (self.part + 1) // self.parts)

    @abstractmethod
    def follow(self, trainer: Trainer) -> None:
        """Obeys until the leader's end."""

    @abstractmethod
    def end(self) -> None:
        """The leader's last order."""


class Ranks(Team):
    """This process among those that take every step together."""

    def __init__(self, rank: int, size: int, *, device: torch.device) -> None:
        super().__init__(rank, size, device=device)
        store = os.environ.get(STORE)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{store}" if store else "env://",
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
        )
        self._orders = dist.new_group(backend="gloo", timeout=TIMEOUT)
        self._alike: dist.ProcessGroup | None = None
        """Those whose gradients are averaged with this process's; None for all."""
        self._groups: list[dist.ProcessGroup | None] = [self._orders, None]
        """All groups that it takes part in; None for the one of all."""
        self.idle = False
        """Whether the others wait for an order, and not for this process to do its part of one, as they do first until
        each has its model."""

    @staticmethod
    def from_environment(device: torch.device) -> Ranks | None:
        """By RANK and WORLD_SIZE, as torchrun and `train/supervise.py` set them; None for a process that is alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        return Ranks(int(os.environ["RANK"]), size, device=device) if size > 1 else None

    def engine(self, model: nn.Module) -> DistributedDataParallel:
        """The model whose backward pass averages gradients over all processes."""
        torch._dynamo.config.optimize_ddp = False  # blocks are compiled one by one: there is nothing to split
        known = inspect.signature(DistributedDataParallel).parameters
        still = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # torch 2.13 on
        options: dict[str, Any] = {still: False}
        return DistributedDataParallel(model, process_group=self._alike, **options)

    def replicas(self) -> Replicas:
        """The processes as those that hold the same weights."""
        return Replicas(self.rank, self.size)

    def cut(self, model: Transformer) -> Shares:
        """Leaves each process its share of the model."""
        from torch.distributed.device_mesh import init_device_mesh

        kind = next(model.parameters()).device.type
        shares = Shares(init_device_mesh(kind, (self.size,)))
        shares.cut(model)
        return shares

    def into_slices(self, model: Transformer, width: int) -> Slices:
        """Leaves each process its slice of the model; so many neighbours have one together.

        Raises `StudyError` where the model does not divide; their number has to be one of such groups.
        """
        from torch.distributed.device_mesh import init_device_mesh

        kind = next(model.parameters()).device.type
        mesh = init_device_mesh(kind, (self.size // width, width), mesh_dim_names=("parts", "slices"))
        self.part, self.parts = self.rank // width, self.size // width
        self._alike = mesh["parts"].get_group()
        slices = Slices(mesh["slices"])
        self._groups += [self._alike, slices.group]
        slices.cut(model)
        return slices

    def tell(self, order: int, window: int = 0, scale: float = 0.0) -> None:
        """The leader's next order to all others."""
        self.idle = False
        if self.leads:
            dist.broadcast(torch.tensor([order, window, scale], dtype=torch.float64), 0, group=self._orders)

    def follow(self, trainer: Trainer) -> None:
        message = torch.zeros(3, dtype=torch.float64)
        deeds: dict[int, Callable[[int, float], object]] = {
            STEP: trainer.apply,
            SHARE: lambda *_: self.share(trainer),
            GATHER: lambda *_: deque(trainer.gathered(), maxlen=0),
            WEIGHTS: lambda *_: deque(trainer.kept_weights(), maxlen=0),
            COMPARE: lambda *_: self.alike(trainer),
        }
        while True:
            dist.broadcast(message, 0, group=self._orders)
            order, window, scale = message.tolist()
            if order == END:
                self._leave()
                return
            deeds[int(order)](int(window), scale)

    def mean(self, value: Tensor) -> Tensor:
        """Of the values of all parts of a batch, in place."""
        dist.all_reduce(value, group=self._alike)
        return value.div_(self.parts)

    def share(self, trainer: Trainer, state: Mapping[str, Tensor] | None = None) -> None:
        """Gives all processes the leader's ``state``, or their shares of it; called by all."""
        self.tell(SHARE)
        for name, tensor in sorted(trainer.common().items()):
            held = torch.empty(tensor.shape, dtype=tensor.dtype) if state is None else state.get(name, tensor)
            trainer.shares.scatter(tensor, held.to(trainer.device))
        trainer.optimizer.publish()
        self.idle = True

    def collect(self, order: int, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """What all processes bring together at this order, one tensor after another; called by the leader."""
        self.tell(order)
        found = dict(tensors)
        self.idle = True
        return found

    def alike(self, trainer: Trainer) -> bool:
        """Whether all processes hold the same bits, as far as they should; called by all.

        Those with the same slice of a model are compared with each other, and not what all slices have in common.
        """
        if trainer.layout.sharded or self.parts == 1:
            return True  # each holds what no other does
        self.tell(COMPARE)
        state = map(trainer.shares.local, trainer.optimizer.state().values())
        own = torch.stack([tensor.reshape(-1).view(torch.int32).sum(dtype=torch.int64).cpu() for tensor in state])
        span, width = torch.iinfo(torch.int64), self.size // self.parts
        least, most = (torch.full((width, len(own)), bound) for bound in (span.max, span.min))
        least[self.rank % width] = most[self.rank % width] = own
        dist.all_reduce(least, dist.ReduceOp.MIN, group=self._orders)
        dist.all_reduce(most, dist.ReduceOp.MAX, group=self._orders)
        self.idle = True
        return torch.equal(least, most)

    def end(self) -> None:
        """The leader's last order, and the end of the group.

        In the middle of another order the others wait for something else: they fall when this process ends.
        """
        if self.idle:
            with suppress(RuntimeError):  # whoever is gone already does not hear it
                self.tell(END)
                self._leave()

    def _leave(self) -> None:
        """Ends the groups, in each of which the last thing to be done holds no tensor.

        A group's thread lives as long as anybody knows the group, as layers do that are computed together, and keeps
        what it did last. An interpreter that ends under it aborts now and then (once in 40 runs) where that is a tensor
        of Python's, of which it lets go.
        """
        try:
            for group in self._groups:
                if dist.get_backend(group) == "gloo":
                    dist.barrier(group=group)
        finally:
            self._groups.clear()
            del self._orders
            dist.destroy_process_group()
