"""Shards of documents on disk: parquet files of bounded size, whole or absent, verified when read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isoflop.core.card import TextShard
from isoflop.core.files import verify_once, write_bytes
from isoflop.text.document import DIGEST_BYTES, Document, digest_of
from isoflop.text.texts import Texts

REJECTS = "-rejects.parquet"
"""How the names end of shards of documents that were dropped."""
SHARD_BYTES = 1 << 26
"""A shard ends with the document that takes its text to this size."""
_SAMPLE_CHARS = 300
_COLUMNS = pa.schema(
    [
        ("id", pa.binary(DIGEST_BYTES)),
        ("num_bytes", pa.int64()),
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("place", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document and where it came from."""

    data: bytes
    """UTF-8."""
    source: str
    file: str
    place: str
    """Within the file."""
    reason: str = ""
    """Why it was dropped; empty for one that was kept."""


def write_shard(folder: Path, file: str, entries: Sequence[Entry]) -> TextShard:
    """Writes ``folder / file``. Raises `DiskError`; then nothing is left behind."""
    columns = [
        pa.array([digest_of(entry.data) for entry in entries], pa.binary(DIGEST_BYTES)),
        pa.array([len(entry.data) for entry in entries], pa.int64()),
        pa.array([entry.data for entry in entries], pa.large_binary()).cast(pa.large_string()),
    ]
    columns += [
        pa.array([getattr(entry, name) for entry in entries], pa.string()) for name in _COLUMNS.names[len(columns) :]
    ]
    return write_table(folder, file, pa.Table.from_arrays(columns, schema=_COLUMNS))


def write_table(folder: Path, file: str, table: pa.Table) -> TextShard:
    """The same of documents that are a table already."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(folder / file, buffer.getbuffer())
    sha256 = hashlib.sha256(buffer.getbuffer()).hexdigest()
    return TextShard(file, sha256, table.num_rows, sum(table["num_bytes"].to_pylist()))


def read_shard(folder: Path, shard: TextShard, columns: list[str] | None = None) -> pa.Table:
    """Its documents; raises `CorruptFileError` where its bytes are not those that were written."""
    verify_once(folder / shard.file, shard.sha256)
    return pq.read_table(folder / shard.file, columns=columns, use_threads=False)


def beginning(data: bytes) -> str:
    """The first characters of a text, for people to look at."""
    return data[: 4 * _SAMPLE_CHARS].decode(errors="ignore")[:_SAMPLE_CHARS]


@dataclass(frozen=True, slots=True)
class Row:
    """Where a document lies in a shard; a `document.Stored`."""

    folder: Path
    shard: TextShard
    row: int

    @property
    def place(self) -> tuple[str, int]:
        return self.shard.file, self.row

    def read(self) -> bytes:
        return _texts(self.folder, self.shard)[self.row]


@lru_cache(maxsize=1)
def _texts(folder: Path, shard: TextShard) -> Texts:
    return Texts.of_arrow(read_shard(folder, shard, ["text"])["text"].combine_chunks())


def stored(folder: Path, shards: Sequence[TextShard]) -> list[Document]:
    """The shards' documents, by identity and size; their texts stay on disk."""
    found = []
    for shard in shards:
        table = read_shard(folder, shard, ["id", "num_bytes"])
        both = zip(table["id"].to_pylist(), table["num_bytes"].to_pylist(), strict=True)
        found += [Document(digest, size, Row(folder, shard, row)) for row, (digest, size) in enumerate(both)]
    return found
