"""What `isoflop prepare` says of a text: what came in, what was done to it, what is left; ``card.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.core import codec
from isoflop.core.errors import StudyError
from isoflop.core.files import read_json

CARD = "card.json"
TEXT = "text"
"""The folder of what is kept."""
CARD_VERSION = 1
NUM_SAMPLES = 3
NUM_SIZES = 32


@dataclass(frozen=True)
class TextShard:
    """One parquet file of documents."""

    file: str
    """Its path within the folder."""
    sha256: str
    num_documents: int
    num_bytes: int
    """UTF-8 bytes of the documents' text."""


@dataclass
class Tally:
    """Counts of documents and bytes, which add up over shards."""

    num_read: int = 0
    bytes_read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Files, parts and records that gave no text, by reason."""
    refusals: list[str] = field(default_factory=list)
    """The first few, with where and why."""
    mended: Counter[str] = field(default_factory=Counter)
    """Repairs by kind."""
    redacted: Counter[str] = field(default_factory=Counter)
    """Personal data and secrets by kind."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Documents by reason."""
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    """The beginnings of some documents that were dropped, by reason."""
    sizes: list[int] = field(default_factory=lambda: [0] * NUM_SIZES)
    """Documents read, by size: entry k counts those of 2^k to 2^(k+1) - 1 bytes."""
    bytes_by_source: Counter[str] = field(default_factory=Counter)
    """Kept."""
    languages: Counter[str] = field(default_factory=Counter)
    """Documents, where it was asked for."""
    found: dict[str, list[int]] = field(default_factory=dict)
    """Items of benchmarks that stood in documents, which were dropped for it."""

    def read(self, num_bytes: int) -> None:
        self.num_read += 1
        self.bytes_read += num_bytes
        self.sizes[min(max(num_bytes, 1).bit_length() - 1, NUM_SIZES - 1)] += 1

    def drop(self, reason: str, num_bytes: int, sample: str) -> None:
        self.dropped[reason] += 1
        self.dropped_bytes[reason] += num_bytes
        if len(shown := self.samples.setdefault(reason, [])) < NUM_SAMPLES:
            shown.append(sample)

    def refuse(self, reason: str, told: str) -> None:
        self.refused[reason] += 1
        if len(self.refusals) < NUM_SAMPLES:
            self.refusals.append(told)

    def find(self, items: dict[str, list[int]]) -> None:
        for name, numbers in items.items():
            self.found[name] = sorted({*self.found.get(name, []), *numbers})

    def add(self, other: Tally) -> None:
        """Adds the other's counts to these."""
        self.num_read += other.num_read
        self.bytes_read += other.bytes_read
        for name in ("refused", "mended", "redacted", "dropped", "dropped_bytes", "bytes_by_source", "languages"):
            getattr(self, name).update(getattr(other, name))
        self.refusals = (self.refusals + other.refusals)[:NUM_SAMPLES]
        for reason, samples in other.samples.items():
            self.samples[reason] = (self.samples.get(reason, []) + samples)[:NUM_SAMPLES]
        self.find(other.found)
        self.sizes = [a + b for a, b in zip(self.sizes, other.sizes, strict=True)]

    @classmethod
    def total(cls, tallies: list[Tally]) -> Tally:
        result = cls()
        for tally in tallies:
            result.add(tally)
        return result


@dataclass(frozen=True)
class StageCost:
    """What a stage took, over all its shards, whenever they were made."""

    stage: str
    num_shards: int
    cpu_seconds: float
    joules: float
    """CPU seconds times the watts of a busy core."""


@dataclass(frozen=True)
class Cluster:
    """Near-duplicates of each other, of which the first is kept."""

    num_documents: int
    kept: str
    """Where the kept one came from."""
    sample: str


@dataclass(frozen=True)
class Share:
    """A source's part in a mixture."""

    source: str
    weight: float
    num_bytes: int
    """That it has, clean and without duplicates."""
    share: float
    """Of the mixture's bytes."""
    used: float
    """Of its own bytes."""


@dataclass(frozen=True)
class DataCard:
    version: int
    sources: list[str]
    recipe: dict[str, Any]
    """What was asked for, all parameters resolved."""
    tally: Tally
    shards: list[TextShard]
    """What is kept, in order."""
    num_clusters: int
    clusters: list[Cluster]
    """The largest."""
    costs: list[StageCost]
    benchmarks: dict[str, int] = field(default_factory=dict)
    """Of each that was looked for, how many items it has; `Tally.found` has those that were found."""
    mixture: list[Share] = field(default_factory=list)
    """Where weights were given."""

    @property
    def num_documents(self) -> int:
        return sum(shard.num_documents for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        return sum(shard.num_bytes for shard in self.shards)


def place_of(shards: Sequence[TextShard], document: int) -> tuple[int, int]:
    """The shard that holds a document, by the number of those in all, and its place there. Raises `IndexError`."""
    for number, shard in enumerate(shards):
        if document < shard.num_documents:
            return number, document
        document -= shard.num_documents
    raise IndexError("a document number beyond the last")


def load_card(folder: Path) -> DataCard:
    """The card of a prepared text. Raises `StudyError` where there is none or one of another version."""
    path = folder / CARD
    if not path.is_file():
        raise StudyError(
            "no prepared text here", where=str(folder), remedy="Prepare one: isoflop prepare TEXT --out DIR"
        )
    value = read_json(path)
    if value.get("version") != CARD_VERSION:
        found = f"a card of version {value.get('version')}, this isoflop reads {CARD_VERSION}"
        raise StudyError(found, where=str(path), remedy="Prepare the text again")
    card: DataCard = codec.decode(DataCard, value, where=str(path))
    return card
