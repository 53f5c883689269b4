"""The events of a study, one type each: the only truth that later stages, the report and the tests read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Record:
    """Base of all records; ``kind`` names the type in the file."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class SessionStarted(Record):
    """A process began to work on the study; ``command`` is what the person typed."""

    kind: ClassVar[str] = "session_started"
    command: str
    version: str
    pid: int


@dataclass(frozen=True)
class StageStarted(Record):
    kind: ClassVar[str] = "stage_started"
    stage: str


@dataclass(frozen=True)
class Spent(Record):
    """Budgeted seconds that went into one activity of a stage; all of them sum to the time spent."""

    kind: ClassVar[str] = "spent"
    stage: str
    activity: str
    """productive, start, compile, checkpoint, evaluation, lost, ..."""
    seconds: float


@dataclass(frozen=True)
class StageFinished(Record):
    kind: ClassVar[str] = "stage_finished"
    stage: str
    seconds: float
    """Wall seconds of this session's work on the stage."""


@dataclass(frozen=True)
class RunStarted(Record):
    """A training run (pilot or target) began or resumed."""

    kind: ClassVar[str] = "run_started"
    run: str
    role: str
    """pilot or target."""
    num_layers: int
    hidden_size: int
    num_parameters_all: int
    num_parameters_non_embedding: int
    num_parameters_matmul: int
    batch_tokens: int
    num_steps: int
    learning_rate: float
    seed: int
    num_threads: int
    dtype: str
    compiled: bool
    from_step: int
    num_processes: int = 1
    """That train it together."""


@dataclass(frozen=True)
class Step(Record):
    """A run at one step; ``loss`` is what training minimises, in nats per token, averaged since the last record."""

    kind: ClassVar[str] = "step"
    run: str
    step: int
    tokens: int
    seconds: float
    """Wall seconds of the run so far."""
    loss: float
    learning_rate: float
    gradient_norm: float
    clipped: float
    """Share of the steps since the last record whose gradient was clipped."""
    tokens_per_second: float
    flops_per_second: float
    update_ratio: float | None = None
    """Norm of the last step's change over the norm of the weights, hidden matrices together."""
    data_share: float | None = None
    """Share of the time since the last record that steps waited for text."""
    noise_scale: float | None = None
    """Gradient noise scale in tokens (train/noise.py), where batches go through in parts."""


@dataclass(frozen=True)
class Evaluation(Record):
    """Loss on held-out documents; ``loss`` in nats per token."""

    kind: ClassVar[str] = "evaluation"
    run: str
    split: str
    step: int
    tokens: int
    """Tokens trained on."""
    loss: float
    bits_per_byte: float
    num_bytes: int
    seconds: float


@dataclass(frozen=True)
class PilotFinished(Record):
    """One point for the law: a pilot's trunk, decayed at ``tokens``; ``loss`` in nats per validation token."""

    kind: ClassVar[str] = "pilot_finished"
    run: str
    hidden_size: int
    num_layers: int
    num_parameters: int
    """Matmul parameters."""
    tokens: int
    unique_tokens: int
    flops: float
    loss: float
    bits_per_byte: float
    learning_rate: float
    batch_tokens: int
    num_steps: int
    seed: int
    purpose: str
    """grid, seed (noise), rate (learning-rate bracket) or next (asked for by the law of the grid)."""
    seconds: float


@dataclass(frozen=True)
class Landing(Record):
    """The run's remaining schedule was re-anchored so that its decay ends when the budget does."""

    kind: ClassVar[str] = "landing"
    run: str
    step: int
    progress: float
    """Share of the schedule done at ``step``."""
    num_steps: int
    """Total steps from now on."""


@dataclass(frozen=True)
class Saved(Record):
    """A checkpoint reached the disk."""

    kind: ClassVar[str] = "saved"
    run: str
    step: int
    num_bytes: int
    blocking_seconds: float
    """Seconds that training waited for it."""
    seconds: float
    """Seconds from the start of writing to its end, in the background."""


@dataclass(frozen=True)
class Alert(Record):
    """Something about a run that a person may want to look at while it lasts."""

    kind: ClassVar[str] = "alert"
    run: str
    step: int
    code: str
    """slow, plateau, memory or absent (train/alerts.py); hung (train/watchdog.py)."""
    message: str


@dataclass(frozen=True)
class RolledBack(Record):
    """Steps were taken back: the run went on from a checkpoint and passed over some batches."""

    kind: ClassVar[str] = "rolled_back"
    run: str
    step: int
    """Where it was noticed."""
    to_step: int
    reason: str
    """nan, spike or rise (train/guard.py), or that ranks differ."""
    batches: list[int]
    """Numbers, in the stream of batches, of those passed over from now on."""
    seconds: float
    """Seconds of training that this took."""


@dataclass(frozen=True)
class Audited(Record):
    """The steps since the last checkpoint were done once more, to see whether they end with the same bits."""

    kind: ClassVar[str] = "audited"
    run: str
    step: int
    num_steps: int
    verdict: str
    """same, live, replay or unclear (train/audit.py)."""
    seconds: float


@dataclass(frozen=True)
class Monitor(Record):
    """The machine while we worked on it, sampled every few seconds."""

    kind: ClassVar[str] = "monitor"
    stage: str
    cpu_utilisation: float
    """Busy share of all cores, 0 to 1."""
    tree_core_seconds: float
    """CPU seconds of the process tree since the last sample."""
    memory_bytes: int
    """Resident memory of the process tree."""
    seconds: float
    """Wall seconds since the last sample."""
    joules_low: float
    joules_central: float
    joules_high: float
    gpu_joules: float | None = None
    """What of it GPUs drew, by their own counters."""


@dataclass(frozen=True)
class EnergyChecked(Record):
    """What another tool made of the energy of a session, and what we did."""

    kind: ClassVar[str] = "energy_checked"
    tool: str
    joules: float
    """By the tool, of the whole machine."""
    seconds: float
    joules_low: float
    """By our own samples of the same seconds,"""
    joules_central: float
    joules_high: float


@dataclass(frozen=True)
class Warned(Record):
    kind: ClassVar[str] = "warned"
    stage: str
    code: str
    message: str


@dataclass(frozen=True)
class Scored(Record):
    """The finished model on the test documents, beside the yardsticks on the same documents."""

    kind: ClassVar[str] = "scored"
    bits_per_byte: float
    bits_per_byte_low: float
    bits_per_byte_high: float
    loss: float
    num_documents: int
    num_bytes: int
    xz_bits_per_byte: float
    unigram_bits_per_byte: float


@dataclass(frozen=True)
class Sampled(Record):
    kind: ClassVar[str] = "sampled"
    prompt: str
    text: str


KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in Record.__subclasses__()}
