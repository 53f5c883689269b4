"""How a model and its batch are divided over the devices of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isoflop.model.config import ModelConfig


@dataclass(frozen=True)
class Training:
    """What is to be divided: a model, trained on batches of so many sequences of so many tokens."""

    config: ModelConfig
    batch: int
    context: int
    optimizer: str = "adamw"
    fp8: bool = False
    flash: bool = True
    """Whether attention never keeps its probabilities (Dao et al. 2022, arXiv 2205.14135)."""


Sharding = Literal["none", "optimizer", "full"]
Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class Division:
    """Devices = data x tensor x pipeline x context."""

    data: int = 1
    """Replicas, each with batches of its own."""
    tensor: int = 1
    """Devices that divide every matrix (Shoeybi et al. 2019, arXiv 1909.08053)."""
    pipeline: int = 1
    """Stages of layers."""
    context: int = 1
    """Devices that divide a sequence (ring attention)."""
    sharding: Sharding = "none"
    """What replicas hold a share of only: nothing, the optimizer's state (ZeRO-1), or everything (FSDP)."""
    micro_batch: int = 1
    """Sequences that go through a replica at once."""
    chunks: int = 1
    """Parts of a stage that take turns (interleaved schedule; Narayanan et al. 2021, arXiv 2104.04473)."""
    sequence_parallel: bool = True
    """Whether tensor-parallel devices divide norms and residuals by tokens."""
    recompute: Recompute = "none"
    """Activations computed once more in the backward pass: none, what is cheap (GPT: attention's core; Llama: norms and
    the MLP's products too), or all but blocks' inputs."""

    @property
    def num_devices(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context

    def num_micro_batches(self, batch: int) -> int:
        """Of a batch of so many sequences, for each replica."""
        return batch // (self.data * self.micro_batch)


def divides(training: Training, division: Division) -> bool:
    """Whether heads, columns, layers, sequences and tokens come out even."""
    config = training.config
    pairs = (
        (config.num_key_value_heads, division.tensor),
        (config.intermediate_size, division.tensor),
        (config.num_hidden_layers, division.pipeline * division.chunks),
        (training.batch, division.data * division.micro_batch),
        (training.context, division.context),
    )
    return all(whole % parts == 0 for whole, parts in pairs)
