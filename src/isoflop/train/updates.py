"""Update rules on float32 masters, so that the model itself may live in bfloat16. Each is one group of parameters.

Matrices that the model fuses (queries, keys and values; gate and up) are taken apart, as some rules look at a matrix as
a whole (Muon, LAMB). Muon stacks those of one shape and side of the residual stream so that one batched product serves
all layers: the stock `torch.optim.Muon` goes matrix by matrix, which costs more than the step itself at our sizes.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from isoflop.train.shares import EVERY, WHOLE, Whole

MOMENTUM = 0.95
BETAS = (0.9, 0.98)
EPSILON = 1e-10
LAMB_EPSILON = 1e-6
LION_BETAS = (0.9, 0.99)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024)."""


class Part(Protocol):
    """One group of parameters with one update rule."""

    def step(self, rate: float) -> None:
        """One update by the model's gradients; ``rate`` is the schedule's multiplier."""
        ...

    def masters_to_keep(self) -> list[Tensor]:
        """The float32 weights that the run is after, which a schedule-free rule tells from those it trains with."""
        ...

    def publish(self, masters: list[Tensor] | None = None) -> None:
        """Copies what it trains with, or ``masters``, into the model's own weights."""
        ...

    def described(self, masters: list[Tensor]) -> list[Tensor]:
        """Tensors like ``masters_to_keep()`` as checkpoints have them (`train.shares`)."""
        ...

    def state(self) -> dict[str, Tensor]: ...


class Block:
    """A parameter, or ``rows`` of what is here of one: one linear map that the model may have fused with others."""

    def __init__(self, parameter: Tensor, shares: Whole = WHOLE, rows: slice = EVERY) -> None:
        self.parameter, self.shares, self.rows = parameter, shares, rows
        self.cut = shares.cut_of(parameter)
        """The dimension along which processes divide it; None where all hold all of it."""

    @property
    def shape(self) -> torch.Size:
        """Of all of it, wherever it is."""
        return self.shares.shape_of(self.parameter, self.rows)

    def weight(self) -> Tensor:
        return self.shares.local(self.parameter.detach())[self.rows]

    def gradient(self) -> Tensor:
        assert self.parameter.grad is not None
        return self.shares.local(self.parameter.grad)[self.rows]

    def described(self, local: Tensor) -> Tensor:
        """``local``, which is like `weight` or a number, as checkpoints have it (`train.shares`)."""
        return self.shares.describe(local, self.shape, self.cut)


class Muon:
    """Momentum whose matrices are orthogonalised before they are applied, all of one shape at once."""

    def __init__(self, blocks: list[Block], rate: float, decay: float, shares: Whole = WHOLE) -> None:
        self.blocks, self.rate, self.decay, self.shares = blocks, rate, decay, shares
        self.master = torch.stack([block.weight().float() for block in blocks])
        self.momentum = torch.zeros_like(self.master)
        rows, columns = blocks[0].shape
        self.scale = 0.2 * math.sqrt(max(rows, columns))

    def step(self, rate_scale: float) -> None:
        rate = self.rate * rate_scale
        gradient = torch.stack([block.gradient() for block in self.blocks]).float()
        self.momentum.lerp_(gradient, 1 - MOMENTUM)
        stack = gradient.lerp_(self.momentum, MOMENTUM)
        update = self.shares.by_whole_matrices(self._orthogonal, stack, self.blocks[0].cut)
        self.master.mul_(1 - rate * self.decay).sub_(update.float(), alpha=rate * self.scale)
        self.publish()

    def _orthogonal(self, stack: Tensor) -> Tensor:
        return orthogonalise(stack, self.blocks[0].parameter.dtype)

    def masters_to_keep(self) -> list[Tensor]:
        return [self.master]

    def publish(self, masters: list[Tensor] | None = None) -> None:
        (stack,) = masters or [self.master]
        for block, master in zip(self.blocks, stack, strict=True):
            block.weight().copy_(master)

    def described(self, masters: list[Tensor]) -> list[Tensor]:
        first = self.blocks[0]
        shape, cut = torch.Size((len(self.blocks), *first.shape)), None if first.cut is None else first.cut + 1
        return [self.shares.describe(stack, shape, cut) for stack in masters]

    def state(self) -> dict[str, Tensor]:
        return dict(zip(("master", "momentum"), self.described([self.master, self.momentum]), strict=True))


def orthogonalise(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Near-orthogonal factor of each matrix of ``x`` [n, rows, columns] by five Newton-Schulz steps in ``dtype``."""
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Masters:
    """Float32 copies of some blocks, and their way into the model; base of the rules below."""

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        self.blocks, self.rate, self.decay = blocks, rate, decay
        self.masters = [block.weight().float().clone() for block in blocks]

    def gradients(self) -> list[Tensor]:
        """Float32, one a master; float32 models' own, so they are not to be written to."""
        return [block.gradient().float() for block in self.blocks]

    def masters_to_keep(self) -> list[Tensor]:
        return self.masters

    def publish(self, masters: list[Tensor] | None = None) -> None:
        for block, master in zip(self.blocks, masters or self.masters, strict=True):
            block.weight().copy_(master)

    def slots(self) -> dict[str, list[Tensor]]:
        """State beside the masters, one tensor a master, by name."""
        return {}

    def described(self, masters: list[Tensor]) -> list[Tensor]:
        return [block.described(master) for block, master in zip(self.blocks, masters, strict=True)]

    def state(self) -> dict[str, Tensor]:
        columns = {"master": self.masters} | self.slots()
        columns = {name: self.described(column) for name, column in columns.items()}
        return {f"{i}.{name}": column[i] for i in range(len(self.masters)) for name, column in columns.items()}


class AdamW(Masters):
    """AdamW (torch's fused kernel; Loshchilov & Hutter 2019, arXiv 1711.05101)."""

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        super().__init__(blocks, rate, decay)
        self.inner = torch.optim.AdamW(
            self.masters, lr=rate, betas=BETAS, eps=EPSILON, weight_decay=decay, fused=True, capturable=False
        )
        for master in self.masters:
            self.inner.state[master] = {
                "step": torch.zeros((), dtype=torch.float32, device=master.device),
                "exp_avg": torch.zeros_like(master),
                "exp_avg_sq": torch.zeros_like(master),
            }

    def step(self, rate: float) -> None:
        self.inner.param_groups[0]["lr"] = self.rate * rate
        for master, gradient in zip(self.masters, self.gradients(), strict=True):
            master.grad = gradient
        self.inner.step()
        self.publish()

    def slots(self) -> dict[str, list[Tensor]]:
        names = ("step", "exp_avg", "exp_avg_sq")
        return {name: [self.inner.state[master][name] for master in self.masters] for name in names}


class Momentum(Masters):
    """One running sum of gradients for each master; base of SGD and Lion."""

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        super().__init__(blocks, rate, decay)
        self.momenta = [torch.zeros_like(master) for master in self.masters]

    def slots(self) -> dict[str, list[Tensor]]:
        return {"momentum": self.momenta}


class SGD(Momentum):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013); weight decay apart from the gradient
    (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

    def step(self, rate: float) -> None:
        size = self.rate * rate
        for master, momentum, gradient in zip(self.masters, self.momenta, self.gradients(), strict=True):
            momentum.mul_(MOMENTUM).add_(gradient)
            master.mul_(1 - size * self.decay)
            master.sub_(gradient.add(momentum, alpha=MOMENTUM), alpha=size)
        self.publish()


class Lion(Momentum):
    """The sign of an interpolated momentum (Chen et al. 2023, arXiv 2302.06675, algorithm 2)."""

    def step(self, rate: float) -> None:
        size = self.rate * rate
        for master, momentum, gradient in zip(self.masters, self.momenta, self.gradients(), strict=True):
            update = momentum.lerp(gradient, 1 - LION_BETAS[0]).sign_()
            master.mul_(1 - size * self.decay).sub_(update, alpha=size)
            momentum.lerp_(gradient, 1 - LION_BETAS[1])
        self.publish()


class Moments(Masters):
    """Adam's two running moments and the number of steps behind them; base of LAMB and the schedule-free rule."""

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        super().__init__(blocks, rate, decay)
        self.num_steps = [torch.zeros(()) for _ in self.masters]
        self.squares = [torch.zeros_like(master) for master in self.masters]

    def square(self, i: int, gradient: Tensor) -> Tensor:
        """The mean square of master ``i``'s gradients, this one included, without the bias of its start."""
        self.num_steps[i] += 1
        self.squares[i].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        return self.squares[i] / (1 - BETAS[1] ** float(self.num_steps[i]))

    def slots(self) -> dict[str, list[Tensor]]:
        return {"step": self.num_steps, "exp_avg_sq": self.squares}


class Lamb(Moments):
    """Adam's update, scaled by each matrix to the size of its weights (You et al. 2020, arXiv 1904.00962, alg. 2)."""

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        super().__init__(blocks, rate, decay)
        self.means = [torch.zeros_like(master) for master in self.masters]

    def step(self, rate: float) -> None:
        for i, (master, gradient) in enumerate(zip(self.masters, self.gradients(), strict=True)):
            square = self.square(i, gradient)
            self.means[i].lerp_(gradient, 1 - BETAS[0])
            mean = self.means[i] / (1 - BETAS[0] ** float(self.num_steps[i]))
            update = mean.div_(square.sqrt_().add_(LAMB_EPSILON)).add_(master, alpha=self.decay)
            master.sub_(update.mul_(_trust_ratio(self.blocks[i], master, update)), alpha=self.rate * rate)
        self.publish()

    def slots(self) -> dict[str, list[Tensor]]:
        return super().slots() | {"exp_avg": self.means}


def _trust_ratio(block: Block, weight: Tensor, update: Tensor) -> Tensor:
    """||w|| / ||update||, one where either is nothing: weights that start at zero have to move somehow."""
    sizes = [block.shares.norm([local.norm()], [block.cut]) for local in (weight, update)]
    return torch.where((sizes[0] > 0) & (sizes[1] > 0), sizes[0] / sizes[1], 1.0)


class ScheduleFree(Moments):
    """AdamW whose average of iterates takes the decay's place (Defazio et al. 2024, arXiv 2405.15682, algorithm 1).

    ``masters`` is that average, x; the model trains at y = (1 - beta) z + beta x.
    """

    def __init__(self, blocks: list[Block], rate: float, decay: float) -> None:
        super().__init__(blocks, rate, decay)
        self.fast = [master.clone() for master in self.masters]
        self.weights = [torch.zeros(()) for _ in self.masters]
        """Sums of the squared rates so far, by which iterates are averaged."""

    def step(self, rate: float) -> None:
        size, points = self.rate * rate, self._points()
        for i, gradient in enumerate(self.gradients()):
            self.square(i, gradient)
            step = size * math.sqrt(1 - BETAS[1] ** float(self.num_steps[i]))  # gamma_t, which takes out the bias
            self.fast[i].addcdiv_(gradient, self.squares[i].sqrt().add_(EPSILON), value=-step)
            self.fast[i].sub_(points[i], alpha=step * self.decay)
            self.weights[i] += step * step
            self.masters[i].lerp_(self.fast[i], step * step / max(float(self.weights[i]), 1e-30))
        self.publish()

    def _points(self) -> list[Tensor]:
        return [fast.lerp(average, BETAS[0]) for fast, average in zip(self.fast, self.masters, strict=True)]

    def publish(self, masters: list[Tensor] | None = None) -> None:
        super().publish(masters or self._points())

    def slots(self) -> dict[str, list[Tensor]]:
        return super().slots() | {"fast": self.fast, "weight": self.weights}
