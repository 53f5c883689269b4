"""What each stage leaves in the study folder: the types behind its JSON files.

Numbers carry their unit in their name (seconds, tokens, bits_per_byte, flops, joules); counts begin with num_.
Three counts of parameters are kept apart everywhere, because scaling exponents depend on the choice
(0.37, 0.54 or 0.70 from the same runs, by nanochat's log): all, non-embedding (blocks and norms), and matmul
(blocks and head: every parameter that multiplies an activation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

FORMAT_VERSION = 2
"""Version of the study folder; a folder of another version is refused."""
MAX_SEED = 2**63 - 1
"""TOML's and torch's largest integer."""


@dataclass(frozen=True)
class Interval:
    """A central value with the bounds of its ``level`` interval."""

    central: float
    low: float
    high: float
    level: float = 0.9

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def scaled(self, factor: float) -> Interval:
        """The interval of the same quantity in another unit; ``factor`` is positive."""
        return Interval(self.central * factor, self.low * factor, self.high * factor, self.level)

    def plus(self, other: Interval | None) -> Interval:
        """Of a sum whose parts may all be low or high together."""
        if other is None:
            return self
        return Interval(self.central + other.central, self.low + other.low, self.high + other.high, self.level)


@dataclass(frozen=True)
class StudyWarning:
    """Something a reader must know before trusting a number; ``code`` is stable."""

    code: str
    message: str


@dataclass(frozen=True)
class ParameterCounts:
    all: int
    non_embedding: int
    """Blocks and norms: neither input embedding nor head."""
    matmul: int
    """Blocks and head (tied or not): what costs FLOPs."""


# corpus/manifest.json ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shard:
    """One checksummed ``.npy`` file of token ids."""

    file: str
    sha256: str
    num_tokens: int


@dataclass(frozen=True)
class Split:
    num_documents: int
    num_bytes: int
    """UTF-8 bytes of the documents' text."""
    num_tokens: int
    """Tokens of the text plus one end-of-text token a document."""
    shards: list[Shard]
    documents: Shard
    """An int64 array [num_documents, 2]: tokens (with end-of-text) and bytes of each document, in shard order."""

    @property
    def bits_per_nat(self) -> float:
        """Bits per byte of one nat per token: tokens / (bytes ln 2)."""
        return self.num_tokens / self.num_bytes / math.log(2)


@dataclass(frozen=True)
class CorpusManifest:
    format_version: int
    fingerprint: str
    """SHA-256 over the input files' contents in order: the corpus a study belongs to."""
    sources: list[str]
    is_demo: bool
    num_files: int
    num_documents: int
    """Kept documents."""
    num_bytes: int
    """Kept bytes; equals the sum over the splits."""
    num_dropped: dict[str, int]
    """Dropped items by reason: empty, duplicate, malformed_line, undecodable_file, ..."""
    vocab_size: int
    tokenizer_sha256: str
    tokens_per_byte: float
    """Training split, end-of-text tokens included."""
    train: Split
    val: Split
    test: Split
    warnings: list[StudyWarning] = field(default_factory=list)
    end_of_text: str = "<|endoftext|>"
    """The token that stands behind every document,"""
    end_of_text_id: int = 0
    """and its id."""


# machine.json ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepTiming:
    """Measured seconds of one training step (forward, backward, optimizer)."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    batch_tokens: int
    context: int
    num_threads: int
    num_processes: int
    """Training processes at work at the same time."""
    dtype: str
    compiled: bool
    seconds: float
    seconds_sd: float


@dataclass(frozen=True)
class Power:
    """Watts that one busy core-second of this machine's process tree draws, idle share excluded and shown apart."""

    method: str
    """``rapl``, ``nvml`` or ``model``."""
    source: str
    active_watts_per_core: Interval
    """Watts of one fully busy core (idle share included)."""
    idle_watts_per_core: Interval
    gpu_watts: Interval | None = None
    """Of the GPUs while they train, by their own counters; None without one."""


@dataclass(frozen=True)
class Machine:
    cpu: str
    device: str
    num_cores: int
    memory_bytes: int
    torch_version: str
    measured_at: str
    """ISO 8601, UTC."""
    matmul_flops_per_second: dict[str, float]
    """Measured peak with all threads, by dtype (``float32``, ``bfloat16``)."""
    dtype: str
    """The faster of the two in real training steps."""
    timings: list[StepTiming]
    side_by_side_gain: float
    """Tokens/s of one run on each core over one run on all cores; above 1 pilots run side by side."""
    noise: float
    """Relative standard deviation of repeated step timings."""
    power: Power
    warnings: list[StudyWarning] = field(default_factory=list)

    def num_devices(self, ranks: int) -> int:
        """Whose peaks add up where so many processes train together: a GPU's each; a CPU's is that of all its cores."""
        return 1 if self.device == "cpu" else ranks


# law.json ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LawPoint:
    """One finished training run, as the law sees it. Loss in nats per token on the validation split."""

    run: str
    num_parameters: float
    """Matmul parameters (blocks and head)."""
    tokens: float
    unique_tokens: float
    flops: float
    loss: float
    noise: float
    """Standard deviation of the loss over seeds, nats per token."""


@dataclass(frozen=True)
class Certificate:
    """How sure a fit is to be the best one."""

    objective: float
    converged: bool
    num_basins: int
    """Different optima that the refined starts ended in."""
    condition_number: float
    """Of the curvature at the optimum, its parameters scaled to unit diagonal."""


@dataclass(frozen=True)
class LawReport:
    form: str
    parameters: dict[str, float]
    standard_errors: dict[str, float]
    prior_dominated: list[str]
    """Parameters that the points do not identify: there a prior decides, or nothing does."""
    draws: list[list[float]]
    """Parameter draws, in the order of ``parameters``: predictions' intervals come from them."""
    residual_sd: float
    """Standard deviation of the log-loss residuals."""
    points: list[LawPoint]
    heldout_error: float | None
    """Relative error when the costliest point is predicted from the others."""
    warnings: list[StudyWarning] = field(default_factory=list)
    certificate: Certificate | None = None
    belief: str | None = None
    """How runs were doubted and what was held likely (`law/belief.py`); None where the runs alone decide."""


@dataclass(frozen=True)
class StackReport:
    """Several forms fitted to the same runs, the best extrapolating first; what ``isoflop fit --out`` writes."""

    laws: list[LawReport]
    weights: list[float]
    """Of each form's log loss in the stack's."""
    extrapolation_errors: list[float | None]
    """Mean absolute relative error at predicting costlier runs from cheaper ones; None where there are too few."""
    warnings: list[StudyWarning]
    seconds: float


# plan.json ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """What the plan promises; each stands beside what happened in the report."""

    bits_per_byte: Interval
    loss: Interval
    """Nats per token on validation."""
    seconds: Interval
    """The whole budgeted time, from the first stage to the last."""
    joules: Interval
    dollars: Interval | None
    grams_co2e: Interval | None


@dataclass(frozen=True)
class Candidate:
    """A size the plan considered, with what the budget would buy at it."""

    num_parameters: ParameterCounts
    num_layers: int
    hidden_size: int
    tokens: float
    epochs: float
    bits_per_byte: Interval
    fits_memory: bool


@dataclass(frozen=True)
class WhatIf:
    """What another budget would buy."""

    budget_seconds: float
    num_parameters: float
    tokens: float
    epochs: float
    bits_per_byte: Interval


OptimizerName = Literal["muon", "adamw", "lion", "schedule-free", "lamb", "sgd"]
ScheduleName = Literal["wsd", "linear", "cosine", "constant"]


@dataclass(frozen=True)
class Method:
    """What a person may choose of the way a study trains; everything else follows from the tokens."""

    optimizer: OptimizerName = "muon"
    """The rules are in train/updates.py; muon is for hidden matrices, and AdamW beside it for the rest."""
    schedule: ScheduleName = "wsd"
    """Behind the warmup: wsd (constant, then linear to zero), linear (to zero), cosine (to a tenth) or constant."""
    z_loss: float = 0.0
    """Weight of the mean squared log of the softmax's denominator in what is minimised."""
    label_smoothing: float = 0.0
    """Share of each target's probability that is spread over all words."""
    average_decay: float = 0.0
    """Of the running average of the weights, a step; the average is what is kept. 0: none."""


USUAL_METHOD = Method()


@dataclass(frozen=True)
class Recipe:
    """How a run trains; every number follows from the tokens by plan/rules.py, never of a sweep."""

    optimizer: OptimizerName
    context: int
    """Tokens of one sequence."""
    batch_tokens: int
    num_steps: int
    learning_rate: float
    """Peak rate of the hidden matrices at width 128; other groups and widths follow (`train.optimizers`)."""
    weight_decay: float
    warmup_fraction: float
    decay_fraction: float
    """Share of the steps over which the rate falls linearly to zero, at the end."""
    clip_norm: float
    seed: int
    unique_tokens: int
    """Training tokens the run may see (repeated when num_steps x batch_tokens is more)."""
    schedule: ScheduleName = "wsd"
    z_loss: float = 0.0
    label_smoothing: float = 0.0
    average_decay: float = 0.0
    micro_batches: int = 1
    """Equal parts in which a process's share of a batch goes through, one after another, because all at once would not
    fit in memory."""
    recompute: bool = False
    """Whether blocks keep their inputs alone for the backward pass, because the rest of one sequence would not fit."""


@dataclass(frozen=True)
class Plan:
    """plan.json: what the budget buys, and what is promised of it."""

    model: dict[str, Any]
    """Fields of model.config.ModelConfig."""
    num_parameters: ParameterCounts
    recipe: Recipe
    tokens: int
    epochs: float
    dtype: str
    compiled: bool
    num_threads: int
    continues: str | None
    """The pilot whose trunk the run goes on from, if its size won."""
    training_seconds: float
    tokens_per_second: float
    flops: float
    memory_bytes: int
    """Expected peak resident memory of training."""
    forecast: Forecast
    candidates: list[Candidate]
    what_if: list[WhatIf]
    warnings: list[StudyWarning] = field(default_factory=list)
    sharded: bool = False
    """Whether the processes that train together hold shares of the model instead of all of it each."""
