"""The fastest division of a run over a cluster that fits in its devices' memory, by trying all that make sense."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from isoflop.core.errors import BudgetError
from isoflop.estimate.devices import Device
from isoflop.estimate.memory import Memory, memory_of
from isoflop.estimate.parallel import Division, Recompute, Sharding, Training, divides
from isoflop.estimate.speed import StepTime, step_time

MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
MAX_DEVICES = 1 << 16
MAX_CONTEXT_SHARE = 16_384
"""Tokens of a sequence that one device should hold; longer ones are divided."""
WAYS: tuple[tuple[Sharding, Recompute], ...] = tuple(
    itertools.product(("none", "optimizer", "full"), ("none", "selective", "full"))
)


@dataclass(frozen=True)
class Layout:
    """A division with what it takes."""

    division: Division
    memory: Memory
    time: StepTime

    @property
    def seconds(self) -> float:
        return self.time.total


def best_layout(training: Training, device: Device, num_devices: int) -> Layout:
    """The fastest that fits; raises `BudgetError` that says by how much the least demanding one does not."""
    found = fastest(training, device, num_devices)
    if found is None:
        raise _misfit(training, device, num_devices)
    return found


def fastest(training: Training, device: Device, num_devices: int) -> Layout | None:
    """Of those that fit; None where none does."""
    layouts = (
        Layout(division, memory, step_time(training, division, device))
        for division, memory in _fitting(training, device, num_devices)
    )
    return min(layouts, key=lambda layout: layout.seconds, default=None)


def _fitting(training: Training, device: Device, num_devices: int) -> Iterator[tuple[Division, Memory]]:
    for division in divisions(training, device, num_devices):
        memory = memory_of(training, division)
        if memory.total <= device.memory_bytes:
            yield division, memory


def _misfit(training: Training, device: Device, num_devices: int) -> BudgetError:
    needs = [memory_of(training, division).total for division in divisions(training, device, num_devices)]
    if not needs:
        what = f"a batch of {training.batch} sequences cannot be divided over {num_devices} devices"
        return BudgetError(what, where="--num-devices", remedy="Take fewer, or a larger --batch-tokens")
    need, have = min(needs) / 1e9, device.memory_bytes / 1e9
    what = f"does not fit: {need:.1f} GB a device at least, {device.name} has {have:.0f} ({need - have:.1f} too few)"
    counts = (1 << power for power in range(num_devices.bit_length(), MAX_DEVICES.bit_length()))
    more = next((count for count in counts if any(_fitting(training, device, count))), None)
    remedy = f"{more:,} of them hold it" if more else "Take larger ones, or a larger --batch-tokens"
    return BudgetError(what, where=f"{num_devices} x {device.name}", remedy=remedy)


def divisions(training: Training, device: Device, num_devices: int) -> Iterator[Division]:
    """All that divide evenly."""
    for tensor, pipeline, context in itertools.product(
        _powers(device.node_size), _stages(training.config.num_hidden_layers), _context_parts(training.context)
    ):
        data, left = divmod(num_devices, tensor * pipeline * context)
        if left or not data:
            continue
        for (sharding, recompute), micro_batch in itertools.product(WAYS, MICRO_BATCHES):
            chunks = _chunks(training.config.num_hidden_layers, pipeline)
            division = Division(data, tensor, pipeline, context, sharding, micro_batch, chunks, tensor > 1, recompute)
            pointless = (sharding != "none" and data * context == 1) or (sharding == "full" and pipeline > 1)
            if not pointless and divides(training, division):
                yield division


def _powers(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _stages(layers: int) -> list[int]:
    return [count for count in range(1, layers + 1) if layers % count == 0]


def _context_parts(context: int) -> list[int]:
    """Only where sequences are long."""
    least = -(-context // MAX_CONTEXT_SHARE)
    return [part for part in (1, 2, 4, 8, 16, 32, 64) if part >= least][: 1 if least == 1 else 2]


def _chunks(layers: int, pipeline: int) -> int:
    """As many parts as divide a stage's layers, four at most, where there are stages: the more, the less they wait."""
    if pipeline == 1:
        return 1
    return next(count for count in range(4, 0, -1) if (layers // pipeline) % count == 0)
