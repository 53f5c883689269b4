"""The first stage of a text's preparation: files to shards of refined documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath

from isoflop.core.card import Tally
from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import File, read_errors
from isoflop.text.collect.spans import spans
from isoflop.text.collect.streams import Refused
from isoflop.text.document import digest_of
from isoflop.text.receipts import Outlet, Piece, Portion, key_of
from isoflop.text.refine import Refinement, refine
from isoflop.text.shards import REJECTS, SHARD_BYTES, Entry, beginning, write_shard

VERSION = 3
"""Another one when this stage's results change."""
BATCH_BYTES = 1 << 23
PIECE_BYTES = 1 << 24
"""Files are taken together up to this size."""
_CUT = 64
"""A piece ends with one file in so many, told by its name: a file that comes or goes changes its own piece alone."""


@dataclass(frozen=True)
class Source:
    """Texts that belong together."""

    name: str
    inputs: tuple[str, ...]
    field: str | None = None
    """The field or column that holds the text; None: the usual ones."""
    weight: float | None = None
    """Of its bytes in a mixture; None: all of them are used."""


@dataclass(frozen=True)
class Files:
    """What one piece of work reads."""

    source: str
    field: str | None
    files: tuple[File, ...]
    how: Refinement
    keeps_rejects: bool


def pieces(source: Source, files: Sequence[File], how: Refinement, *, keeps_rejects: bool) -> list[Piece]:
    """The source's files, in order, as pieces of work."""
    found = [Files(source.name, source.field, group, how, keeps_rejects) for group in _groups(files)]
    return [
        Piece(key_of("gather", VERSION, _seen(each)), each, sum(file.size for file in each.files)) for each in found
    ]


def _seen(argument: Files) -> list[object]:
    """All of the argument that its results depend on: of benchmarks and judge what is in them, wherever they lie."""
    how = argument.how
    judge = how.judge and (how.judge.sha256, how.judge.least)
    looked_for = how.benchmarks and (how.benchmarks.names, how.benchmarks.hashes.shard.sha256)
    plain = replace(how, benchmarks=None, judge=None)
    return [argument.source, argument.field, argument.files, plain, judge, looked_for, argument.keeps_rejects]


def _groups(files: Sequence[File]) -> Iterator[tuple[File, ...]]:
    """Small files together, the parts of a long one apart."""
    group: list[File] = []
    for file in files:
        for part in spans(file):
            group.append(part)
            if sum(each.size for each in group) >= PIECE_BYTES:
                yield tuple(group)
                group = []
        if group and _is_last(file):
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


def _is_last(file: File) -> bool:
    """By its folder's and its own name: a crawl's files may all be called index.html."""
    return digest_of("/".join(PurePosixPath(file.name).parts[-2:]).encode())[0] % _CUT == 0


def gather(argument: Files, outlet: Outlet) -> Iterator[Portion]:
    """A stage's work: reads, refines and writes ``STEM.parquet`` and, if asked, ``STEM-rejects.parquet``."""
    shard = _Shard(argument)
    items = islice(_items(argument), outlet.position, None)
    for position, (file, item) in enumerate(items, start=outlet.position + 1):
        if isinstance(item, Refused):
            shard.refuse(file, item)
        else:
            shard.add(file, item)
        if shard.num_bytes >= SHARD_BYTES:
            yield shard.written(outlet, position, is_last=False)
            shard = _Shard(argument)
    yield shard.written(outlet, 0, is_last=True)


def _items(argument: Files) -> Iterator[tuple[File, Raw | Refused]]:
    for file in argument.files:
        with read_errors(file.path):
            for item in documents(file, field=argument.field):
                yield file, item


@dataclass
class _Shard:
    """Documents on their way to a file."""

    argument: Files
    tally: Tally = field(default_factory=Tally)
    kept: list[Entry] = field(default_factory=list)
    rejects: list[Entry] = field(default_factory=list)
    pending: list[Entry] = field(default_factory=list)
    num_bytes: int = 0
    """Read."""
    _num_pending: int = 0

    def add(self, file: File, raw: Raw) -> None:
        self.tally.read(len(raw.data))
        self.num_bytes += len(raw.data)
        self.pending.append(Entry(raw.data, self.argument.source, file.name, raw.place))
        self._num_pending += len(raw.data)
        if self._num_pending >= BATCH_BYTES:
            self._refine()

    def refuse(self, file: File, what: Refused) -> None:
        self.tally.refuse(what.reason, f"{file.name}: {what}")
        if self.argument.keeps_rejects:
            self.rejects.append(Entry(b"", self.argument.source, file.name, what.place, what.reason))

    def _refine(self) -> None:
        done = refine([entry.data for entry in self.pending], self.argument.how)
        self.tally.mended += done.mended
        self.tally.redacted += done.redacted
        self.tally.languages += done.languages
        self.tally.find({name: sorted(items) for name, items in done.found.items()})
        for entry, one in zip(self.pending, done.documents, strict=True):
            after = Entry(one.data, entry.source, entry.file, entry.place, one.reason or "")
            if one.reason is None:
                self.kept.append(after)
                continue
            self.tally.drop(one.reason, len(entry.data), beginning(one.data))
            if self.argument.keeps_rejects:
                self.rejects.append(after)
        self.pending, self._num_pending = [], 0

    def written(self, outlet: Outlet, position: int, *, is_last: bool) -> Portion:
        self._refine()
        outputs = [write_shard(outlet.folder, f"{outlet.stem}.parquet", self.kept)] if self.kept else []
        if self.rejects:
            outputs.append(write_shard(outlet.folder, f"{outlet.stem}{REJECTS}", self.rejects))
        return Portion(outputs, self.tally, position, is_last)
