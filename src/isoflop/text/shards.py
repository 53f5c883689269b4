"""Shards of documents on disk: parquet files of bounded size, whole or absent, verified when read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isoflop.core.card import TextShard
from isoflop.core.files import verify, write_bytes

SHARD_BYTES = 1 << 26
"""A shard ends with the document that takes its text to this size."""
_COLUMNS = pa.schema(
    [
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
    texts = pa.array([entry.data for entry in entries], pa.large_binary()).cast(pa.large_string())
    others = [pa.array([getattr(entry, field.name) for entry in entries], field.type) for field in list(_COLUMNS)[1:]]
    return write_table(folder, file, pa.Table.from_arrays([texts, *others], schema=_COLUMNS))


def write_table(folder: Path, file: str, table: pa.Table) -> TextShard:
    """The same of documents that are a table already."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(folder / file, buffer.getbuffer())
    sha256 = hashlib.sha256(buffer.getbuffer()).hexdigest()
    sizes = pa.compute.sum(pa.compute.binary_length(table["text"])).as_py() or 0
    return TextShard(file, sha256, table.num_rows, sizes)


def read_shard(folder: Path, shard: TextShard) -> pa.Table:
    """Its documents; raises `CorruptFileError` where its bytes are not those that were written."""
    verify(folder / shard.file, shard.sha256)
    return pq.read_table(folder / shard.file, use_threads=False)
