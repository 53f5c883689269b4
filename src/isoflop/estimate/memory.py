"""Bytes that each device of a division needs, by what for (Korthikanti et al. 2022, arXiv 2205.05198; Rajbhandari et
al. 2020, arXiv 1910.02054).

Letters: s tokens of context, b sequences of a micro-batch, h width, a heads, L layers, V vocabulary, t tensor-parallel
devices, p pipeline stages, m chunks a stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from isoflop.estimate.parallel import Division, Training
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters

WEIGHT_BYTES, GRADIENT_BYTES = 2, 4
"""bfloat16 weights, and gradients summed in float32, as Megatron-LM and FSDP with float32 reductions have them."""
OPTIMIZER_BYTES = {"adamw": 12, "muon": 8, "sgd": 8, "lion": 8}
"""Float32 masters and moments of a parameter."""
CONTEXT_BYTES = 2e9
"""Of a device's driver, libraries and communication buffers (an assumption)."""
FRAGMENTATION = 0.06
"""Of what is allocated, that an allocator cannot use (an assumption)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device, that of the first pipeline stage."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    margin: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.margin


def memory_of(training: Training, division: Division) -> Memory:
    """What training needs so divided."""
    config = training.config
    mine = parameters_of_stage(config, division)
    optimizer_bytes = mine * OPTIMIZER_BYTES[training.optimizer]
    weights, gradients = mine * WEIGHT_BYTES, mine * GRADIENT_BYTES
    share = division.data * division.context
    if division.sharding != "none":
        optimizer_bytes /= share
    if division.sharding == "full":
        gathered = 2 * layer_parameters(config) / division.tensor * WEIGHT_BYTES  # two layers are whole at a time
        weights, gradients = weights / share + gathered, gradients / share
    activations = activation_bytes(training, division)
    logits = 4 * _tokens(training, division) * config.vocab_size / division.tensor if division.pipeline == 1 else 0.0
    margin = CONTEXT_BYTES + FRAGMENTATION * (weights + gradients + optimizer_bytes + activations + logits)
    return Memory(weights, gradients, optimizer_bytes, activations, logits, margin)


def layer_parameters(config: ModelConfig) -> float:
    """Of one layer, in the mean."""
    return count_parameters(config).non_embedding / config.num_hidden_layers


def parameters_of_stage(config: ModelConfig, division: Division) -> float:
    """On each device of the first stage, its share of the matrices; the first stage has the embedding."""
    counts = count_parameters(config)
    embedding = config.vocab_size * config.hidden_size
    if division.pipeline == 1:
        return counts.all / division.tensor
    return (counts.non_embedding / division.pipeline + embedding) / division.tensor


def _tokens(training: Training, division: Division) -> float:
    """That go through a device at once."""
    return division.micro_batch * training.context / division.context


def activation_bytes(training: Training, division: Division) -> float:
    """Of the first stage, in 16 bits: sbh (10 + 24/t + 5as/(ht)) a layer, or (34 sbh + 5 a s^2 b)/t with sequences
    divided too (equations 1, 2, 4), as many layers as all stages have, and the interleaved schedule's
    1 + (p - 1)/(p m) more (section 4.2.3)."""
    in_flight = min(division.pipeline, division.num_micro_batches(training.batch)) / division.pipeline
    p, m = division.pipeline, division.chunks
    interleaved = 1 + (p - 1) / (p * m) if m > 1 else 1.0
    kept = layer_bytes(training, division) * training.config.num_hidden_layers * in_flight * interleaved
    if division.recompute == "full":  # one layer at a time has all of them
        kept += layer_bytes(training, replace(division, recompute="none"))
    return _tokens(training, division) * kept


def layer_bytes(training: Training, division: Division) -> float:
    """A token's, of one layer."""
    config = training.config
    t, h = division.tensor, config.hidden_size
    divided = t if division.sequence_parallel else 1
    if division.recompute == "full":
        return 2 * h / divided
    keeps_core = not training.flash and division.recompute != "selective"
    core = 5 * config.num_attention_heads * training.context / t if keeps_core else 0.0
    if config.family == "gpt2":
        return 10 * h / divided + 24 * h / t + core
    attention = 4 * config.query_size + 4 * config.key_value_size  # q, k, v and the output
    if division.recompute == "selective":  # beside it norms' inputs, gate and up: the rest is cheap to have again
        return 4 * h / divided + (attention + 4 * config.intermediate_size) / t
    return 8 * h / divided + (attention + 6 * config.intermediate_size) / t + core  # norms' outputs and the product too
