"""records.jsonl: one line per event, appended as it happens and never rewritten."""

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
from typing import Any

from isoflop.core import codec
from isoflop.core.errors import CorruptFileError, DivergedError, StudyError
from isoflop.core.files import disk_errors
from isoflop.core.records import KINDS, PilotFinished, Record, Scored, SessionStarted, StageFinished

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
