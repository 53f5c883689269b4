"""Processes that train apart for some steps and then agree on a step together: hundreds of times fewer bytes are sent.

DiLoCo (Douillard et al. 2023, arXiv 2311.08105, algorithm 1): every process takes ``every`` inner steps on its own
sequences with its own optimizer; how far they came on average is the gradient of an outer step, stochastic gradient
descent with Nesterov momentum, which all take alike. Momenta of the inner optimizers stay each process's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from isoflop.train.optimizers import Optimizer

PREFIX = "outer."
"""Of names in checkpoints."""
RATE, MOMENTUM = 0.7, 0.6
"""Of the outer step. The paper has .9, for runs of a hundred outer steps and more; in runs of 3 and 16 that overshoots
(docs/log.md, 31)."""


class OuterStep:
    """The weights at the last agreement, and the outer step's momentum."""

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        self.optimizer, self.every = optimizer, every
        self.agreed = [master.clone() for master in self.masters()]
        self.momenta = [torch.zeros_like(master) for master in self.agreed]

    def masters(self) -> list[Tensor]:
        """The float32 weights that all processes hold alike after an outer step."""
        return [master for part in self.optimizer.parts.values() for master in part.masters_to_keep()]

    def step(self, means: Sequence[Tensor]) -> None:
        """One outer step, the ``means`` being those of `masters` over all processes."""
        for agreed, momentum, mean in zip(self.agreed, self.momenta, means, strict=True):
            gradient = agreed - mean
            momentum.mul_(MOMENTUM).add_(gradient)
            agreed.sub_(gradient.add_(momentum, alpha=MOMENTUM), alpha=RATE)
        self.adopt(self.agreed)

    def adopt(self, weights: Sequence[Tensor]) -> None:
        """Goes on from these weights, momenta being as they were."""
        for master, weight in zip(self.masters(), weights, strict=True):
            master.copy_(weight)
        self.optimizer.publish()

    def state(self) -> dict[str, Tensor]:
        """The tensors themselves, by name."""
        columns = {"agreed": self.agreed, "momentum": self.momenta}
        return {f"{PREFIX}{i}.{name}": column[i] for name, column in columns.items() for i in range(len(column))}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint's outer step; from the weights as they are, where it is of another way to train."""
        for agreed, momentum, master in zip(self.agreed, self.momenta, self.masters(), strict=True):
            agreed.copy_(master)
            momentum.zero_()
        for name, value in self.state().items():
            if name in tensors:
                value.copy_(tensors[name])
