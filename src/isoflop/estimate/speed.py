"""Seconds of a training step on a cluster: products, attention, element-wise passes, starts of kernels, communication.

Every part is a count (FLOPs, bytes, kernels) over a rate of the device times an efficiency. The counts are exact or of
the papers named; the efficiencies are fitted once a device to published throughputs (`benchmarks/estimate.py`).

Letters: T tokens of a step through each device, s context, h width, Q width of all heads, L layers, V vocabulary,
d replicas, t tensor-parallel devices, p stages, m chunks a stage.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoflop.estimate.devices import Device
from isoflop.estimate.memory import layer_bytes, layer_parameters, parameters_of_stage
from isoflop.estimate.parallel import Division, Training

Number = Any
"""float, or an array of them: a fit asks for many runs at once."""
FLASH_BACKWARD = 2.5
"""FLOPs of attention's backward pass over its forward one, which it computes once more (Dao et al. 2022)."""
LOGIT_BYTES = 16
"""That pass a logit's place in memory: written in 16 bits, read, its float32 softmax and gradient."""
OPTIMIZER_PASS_BYTES = 30
"""That a step of AdamW reads and writes of a parameter: gradient, master, two moments, weight."""
SPREAD = 1.2
"""Ratio of a step's 90 % bounds to its expected seconds: assumed, wider than nine of ten left-out runs of MosaicML's
(1.09, `benchmarks/estimate.py`), since two whole runs that nothing was fitted to took up to 1.16 times it."""


@dataclass(frozen=True)
class Work:
    """What one device does in a step."""

    product_flops: Number
    width: Number
    """Columns of its share of a matrix."""
    attention_flops: Number
    """Of the whole square of scores."""
    element_bytes: Number
    logit_bytes: Number
    layers: Number
    """Started, forward and backward."""
    gathers: Number
    """Of these, layers whose weights have to be brought together."""
    link_bytes: Number
    """Sent to tensor-parallel neighbours, and to others of a sequence within the node."""
    ring_bytes: Number
    """Keys and values sent to others of a sequence on other nodes."""
    node_bytes: Number
    """Sent to replicas within the node, while it works."""
    network_bytes: Number
    """The same to other nodes."""
    optimizer_bytes: Number
    bubble: Number
    """Time of waiting for other stages over that of working."""


@dataclass(frozen=True)
class Efficiencies:
    """Of one kind of device; shares of what it could do, unless a unit is named."""

    products: Number
    """Of the best product that was measured, in layers of infinite width."""
    half_width: Number
    """Columns at which products reach half of that."""
    attention: Number
    """Of the same."""
    passes: Number
    """Times that element-wise work moves its bytes."""
    layer_seconds: Number
    """Of starting the kernels of one layer, forward and backward."""
    gather_seconds: Number
    """Of starting the collectives of a layer whose weights replicas share."""
    links: Number
    """Of bandwidths between devices."""
    hidden: Number
    """Share of replicas' communication that can go on beside work."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step by what for; what hides behind something else is not in it."""

    products: Number
    attention: Number
    elements: Number
    starts: Number
    tensor: Number
    """Communication of devices that divide matrices or sequences."""
    data: Number
    """That of replicas."""
    pipeline: Number
    """Stages that wait for others."""
    optimizer: Number

    @property
    def total(self) -> Number:
        return sum(getattr(self, each.name) for each in dataclasses.fields(self))


def step_time(training: Training, division: Division, device: Device) -> StepTime:
    """Expected seconds of one step."""
    return seconds_of(work_of(training, division, device.node_size), device, efficiencies_of(device, fp8=training.fp8))


def seconds_of(work: Work, device: Device, found: Efficiencies) -> StepTime:
    """The counts over their rates."""
    width_share = work.width / (work.width + found.half_width)
    products = work.product_flops / (device.matmul_flops * found.products * width_share)
    attention = work.attention_flops / (device.matmul_flops * found.attention)
    elements = found.passes * (work.element_bytes + work.logit_bytes) / device.memory_bytes_per_second
    starts = found.layer_seconds * work.layers + found.gather_seconds * work.gathers
    tensor = work.link_bytes / (device.link_bytes_per_second * found.links)
    tensor = tensor + work.ring_bytes / (device.network_bytes_per_second * found.links)
    busy = products + attention + elements + starts + tensor
    data = np.maximum(
        work.node_bytes / (device.link_bytes_per_second * found.links),
        work.network_bytes / (device.network_bytes_per_second * found.links),
    )
    return StepTime(
        products=products,
        attention=attention,
        elements=elements,
        starts=starts,
        tensor=tensor,
        data=data - found.hidden * np.minimum(data, busy),
        pipeline=work.bubble * busy,
        optimizer=work.optimizer_bytes / device.memory_bytes_per_second,
    )


def work_of(training: Training, division: Division, node_size: int) -> Work:
    """The counts of one device, that of the slowest stage: the last, which has the head."""
    config, d, t, p = training.config, division.data, division.tensor, division.pipeline
    layers, width = config.num_hidden_layers / p, config.hidden_size
    tokens = training.batch * training.context / (d * division.context)
    num_micro = division.num_micro_batches(training.batch)
    again = 1 if division.recompute == "full" else 0
    cheap_again = 1 if again or (division.recompute == "selective" and config.family != "gpt2") else 0
    blocks = 2 * layers * layer_parameters(config) * (3 + again)
    head = 2 * config.vocab_size * width * 3
    core = 4 * layers * training.context * config.query_size
    core_again = FLASH_BACKWARD + again if training.flash else 2 + (division.recompute != "none")
    whole = dataclasses.replace(division, recompute="none")
    # keys and values go around forward, and with their gradients backward (ring attention: Liu et al. 2023)
    ring = tokens * layers * 2 * config.key_value_size / t * 2 * (division.context - 1) * 3
    is_inside = t * division.context <= node_size
    updated = parameters_of_stage(config, division) / (1 if division.sharding == "none" else d * division.context)
    node_bytes, network_bytes = _shared_bytes(training, division, node_size, num_micro)
    return Work(
        product_flops=tokens * (blocks + head) / t,
        width=width / t,
        attention_flops=tokens * core * (1 + core_again) / t,
        element_bytes=tokens * layers * layer_bytes(training, whole) * (1 + cheap_again / 3),
        logit_bytes=tokens * LOGIT_BYTES * config.vocab_size / t,
        layers=layers * num_micro * (1 + again / 3),
        gathers=layers * num_micro * (1 + again / 3) * (division.sharding == "full"),
        link_bytes=tokens * layers * (4 + 2 * again) * 2 * (t - 1) / t * 2 * width + ring * is_inside,
        ring_bytes=ring * (not is_inside),
        node_bytes=node_bytes,
        network_bytes=network_bytes,
        optimizer_bytes=OPTIMIZER_PASS_BYTES * updated,
        bubble=(p - 1) / (division.chunks * num_micro),
    )


def _shared_bytes(training: Training, division: Division, node_size: int, num_micro: int) -> tuple[float, float]:
    """Sent to replicas in a step, within the node and by each device's share of the network.

    Shares (FSDP) gather 16-bit weights for the forward and the backward pass of every micro-batch and scatter
    gradients as wide; replicas average float32 gradients once a step, by a ring, or scatter them and gather weights
    (ZeRO-1). Rings enter and leave a node once: its devices share what goes through the network.
    """
    replicas = division.data * division.context
    if replicas == 1:
        return 0.0, 0.0
    parameters = parameters_of_stage(training.config, division)
    bytes_each = {"none": 8.0, "optimizer": 6.0, "full": 6.0 * num_micro}[division.sharding]
    inside = max(1, min(replicas, node_size // division.tensor))
    nodes = replicas / inside
    sent = parameters * bytes_each
    return sent * (inside - 1) / inside, sent * (nodes - 1) / nodes / inside


_COMMON = {"half_width": 301.0, "layer_seconds": 3e-4, "gather_seconds": 2.04e-3, "links": 0.602, "hidden": 0.334}
A100 = Efficiencies(products=0.921, attention=0.730, passes=2.13, **_COMMON)
H100 = Efficiencies(products=0.866, attention=0.451, passes=3.73, **_COMMON)
H100_FP8 = Efficiencies(products=1.391, attention=0.429, passes=3.73, **_COMMON)
"""Of `benchmarks/estimate.py`: fitted to MosaicML's 216 runs and Korthikanti's eight together."""


def efficiencies_of(device: Device, *, fp8: bool = False) -> Efficiencies:
    """Those fitted for its kind; an H100's for all that nobody published runs of."""
    if fp8 and device.fp8_flops is not None:
        return H100_FP8
    return A100 if device.name.startswith("A100") else H100
