"""The study folder as an interface: what lies where, what was given, what was decided, and a session of work on it."""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from isoflop import __version__
from isoflop.core import codec
from isoflop.core.budget import Budget
from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.files import read_json, write_checked_json, write_text
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.ledger import Ledger, spent_seconds
from isoflop.core.process import process_age
from isoflop.core.products import FORMAT_VERSION, USUAL_METHOD, CorpusManifest, LawReport, Machine, Method, Plan
from isoflop.core.progress import Progress
from isoflop.core.records import SessionStarted, Spent
from isoflop.core.session import Session
from isoflop.machine.codecarbon import checked
from isoflop.machine.monitor import Monitor
from isoflop.machine.power import detect_power
from isoflop.text import prepare as text


@dataclass(frozen=True)
class Given:
    """What the person asked for; the ``[given]`` table of study.toml."""

    format_version: int
    command: str
    inputs: list[str]
    """Empty for the demo corpus."""
    budget: str
    seed: int
    grid: str
    grams_co2e_per_kwh: float
    price_per_hour: float | None = None
    budget_seconds: float | None = None
    """Absent until the machine is measured, for budgets that are not in seconds."""
    budget_conversion: str | None = None
    tokenizer: str | None = None
    """A ``tokenizer.json`` to use; absent: that of a prepared text, or one trained on the text."""
    method: Method = USUAL_METHOD
    ranks: int = 1
    """Processes that train together."""


class Study:
    """Paths and files of one study. Raises `StudyError` where the folder is none, or of another version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = folder / "corpus"
        self.pilots = folder / "pilots"
        self.run = folder / "run"
        self.model = folder / "model"
        self.records = folder / "records.jsonl"
        self.report = folder / "report.html"

    @property
    def exists(self) -> bool:
        return (self.folder / "study.toml").is_file()

    def _toml(self) -> dict[str, Any]:
        path = self.folder / "study.toml"
        if not path.is_file():
            raise StudyError(
                "not a study folder (no study.toml)", where=str(self.folder), remedy="Start one: isoflop run"
            )
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CorruptFileError(f"not TOML ({error})", where=str(path), remedy="Start a new study") from error

    @property
    def given(self) -> Given:
        table = self._toml().get("given", {})
        version = table.get("format_version")
        if version != FORMAT_VERSION:
            raise StudyError(
                f"a study of format version {version}; this isoflop ({__version__}) reads version {FORMAT_VERSION}",
                where=str(self.folder),
                remedy="Use the isoflop that made it, or start a new study in another folder",
            )
        try:
            given: Given = codec.decode(Given, table, where="given")
        except ValueError as error:
            raise CorruptFileError(str(error), where=str(self.folder / "study.toml")) from error
        return given

    def give(self, given: Given) -> None:
        """Writes the ``[given]`` table, keeping what was decided."""
        decided = self._toml().get("decided", {}) if self.exists else {}
        self._write(given, decided)

    def decide(self, key: str, value: Any, *, rule: str) -> None:
        """Notes a decision and the rule that made it."""
        decided = self._toml().get("decided", {})
        decided[key] = {"value": codec.encode(value), "rule": rule}
        self._write(self.given, decided)

    def decided(self, key: str) -> Any:
        """A decision noted earlier; None where it was not made yet."""
        return self._toml().get("decided", {}).get(key, {}).get("value")

    def _write(self, given: Given, decided: dict[str, Any]) -> None:
        table = {key: value for key, value in asdict(given).items() if value is not None}
        write_text(self.folder / "study.toml", tomli_w.dumps({"given": table, "decided": decided}))

    @property
    def budget_seconds(self) -> float:
        seconds = self.given.budget_seconds
        assert seconds is not None, "the budget is converted once the machine is measured"
        return seconds

    def convert(self, seconds: float, explanation: str) -> None:
        """Notes what the budget comes to on this machine."""
        self.give(replace(self.given, budget_seconds=seconds, budget_conversion=explanation))

    @property
    def manifest(self) -> CorpusManifest:
        return text.load(self.corpus)

    @property
    def machine(self) -> Machine:
        return self._read("machine.json", Machine)

    @property
    def law(self) -> LawReport:
        return self._read("law.json", LawReport)

    @property
    def plan(self) -> Plan:
        return self._read("plan.json", Plan)

    def has(self, name: str) -> bool:
        """Whether a stage left its product ``name``."""
        return (self.folder / name).exists()

    def write(self, name: str, product: Any) -> None:
        """Leaves a stage's product, with its checksum."""
        write_checked_json(self.folder / name, codec.encode(product))

    def _read(self, name: str, kind: type[Any]) -> Any:
        path = self.folder / name
        if not path.is_file():
            raise StudyError(
                f"the study has no {name} yet",
                where=str(self.folder),
                remedy=f"Go on with: isoflop resume {self.folder}",
            )
        try:
            return codec.decode(kind, read_json(path), where=name)
        except ValueError as error:
            raise CorruptFileError(str(error), where=str(path), remedy="Delete it, then resume") from error


@contextmanager
def open_session(
    study: Study, *, command: str, quiet: bool, since: float | None = None
) -> Iterator[tuple[Session, Monitor]]:
    """A session of budgeted work: records, ledger, monitor and progress, from the start of this process on, or from
    the instant ``since`` (`time.monotonic`), until which other sessions have booked.

    Raises `StudyError` where another process works on the study.
    """
    with closing(RecordLog(study.records)) as log:
        log.claim()
        with _session(study, log, command=command, quiet=quiet, since=since) as opened:
            yield opened


@contextmanager
def _session(
    study: Study, log: RecordLog, *, command: str, quiet: bool, since: float | None
) -> Iterator[tuple[Session, Monitor]]:
    spent_before = spent_seconds(read_records(study.records))
    age = process_age() if since is None else time.monotonic() - since
    opened = time.monotonic() - age
    budget = Budget.parse(study.given.budget)

    def seconds_left() -> float:
        seconds = study.given.budget_seconds or (budget.amount if budget.unit == "s" else float("inf"))
        return seconds - spent_before - (time.monotonic() - opened)

    log.write(SessionStarted(command, __version__, os.getpid()))
    log.write(Spent("start", "start", age))
    with (
        Ledger(log.write) as ledger,
        checked(study.records, log.write),
        Monitor(log.write, power=detect_power()) as monitor,
        Progress(remaining=seconds_left, quiet=quiet) as progress,
    ):
        yield Session(log.write, ledger, progress, seconds_left), monitor


def command_line() -> str:
    """What the person typed, for the records."""
    return " ".join(["isoflop", *sys.argv[1:]])
