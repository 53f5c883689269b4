"""records.jsonl: one typed line per event, the only truth that later stages, the report and the tests read."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from isoflop.core import codec
from isoflop.core.errors import CorruptFileError, DivergedError, StudyError
from isoflop.core.files import disk_errors


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
    """slow, plateau or memory (train/alerts.py)."""
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
_DURABLE = (StageFinished, PilotFinished, Scored)
"""What took long to find out, and must survive a power cut."""


@dataclass(frozen=True)
class Stamped:
    """A record with the time (Unix seconds) at which it was written."""

    time: float
    record: Record


class RecordLog:
    """Appends records to a file; each line reaches the kernel before `write` returns, and results reach the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def claim(self) -> None:
        """Makes this process the only one that works on the study, and cuts off the half line that a kill left.

        Other logs of the file, as the pilots' processes have them, may write meanwhile. Raises `StudyError` where
        another process is at work. The claim ends with the log, or with the process.
        """
        with suppress(OSError):  # a filesystem without locks
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _taken(self.path) from None
        with disk_errors(self.path):
            _drop_torn_line(self.path)

    def write(self, record: Record) -> None:
        """Appends the record; raises `DivergedError` for a number that is not finite, `DiskError` for a full disk."""
        line = _line(record)
        with disk_errors(self.path):
            num_written = os.write(self._handle, line)
            if num_written < len(line):  # a disk can fill up inside a line; half a line must not stay
                os.ftruncate(self._handle, os.fstat(self._handle).st_size - num_written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if isinstance(record, _DURABLE):
                os.fsync(self._handle)

    def close(self) -> None:
        os.fsync(self._handle)
        os.close(self._handle)


def _line(record: Record) -> bytes:
    value = {"kind": record.kind, "time": round(time.time(), 3)} | codec.encode(record)
    try:
        return (json.dumps(value, allow_nan=False) + "\n").encode()
    except ValueError as error:
        what = f"the run diverged: a number of its {record.kind} record is not finite"
        raise DivergedError(
            what, where=value.get("run", "records"), remedy="Start again with another --seed"
        ) from error


def _taken(path: Path) -> StudyError:
    pids = [stamped.record.pid for stamped in read_records(path) if isinstance(stamped.record, SessionStarted)]
    who = f" (pid {pids[-1]})" if pids else ""
    return StudyError(
        f"another isoflop works on this study{who}", where=str(path.parent), remedy="Wait for it, or end it"
    )


def _drop_torn_line(path: Path) -> None:
    """A kill can leave half a line at the end; it is cut off so that the file stays one record a line."""
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def read_records(path: Path) -> Iterator[Stamped]:
    """Yields the records in order; a torn last line is ignored, any other bad line is a `CorruptFileError`."""
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        yield parse_record(line, f"{path}:{number}")


def records_from(path: Path, offset: int) -> tuple[list[Stamped], int]:
    """The records behind ``offset`` bytes of a file that may grow, and where its last whole line ends."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return [parse_record(line, f"{path}, byte {offset} on") for line in data[:end].splitlines()], offset + end


def is_last(record: Record) -> bool:
    """Whether a study that has this record is at its end."""
    return isinstance(record, StageFinished) and record.stage == "report"


def parse_record(line: bytes, where: str) -> Stamped:
    """One line of the file; `CorruptFileError` for one that is no record."""
    try:
        value: dict[str, Any] = json.loads(line)
        kind = KINDS[value.pop("kind")]
        stamp = float(value.pop("time"))
        known = {field.name for field in fields(kind)}
        return Stamped(stamp, codec.decode(kind, {k: v for k, v in value.items() if k in known}, where=where))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"not a record ({error})", where=where, remedy="Remove the line, then resume") from error
