"""Shards on disk: documents as parquet files of bounded size, numbers as npy; whole or absent, verified when read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from isoflop.core.card import TextShard
from isoflop.core.executor import Executor
from isoflop.core.files import read_array, verify_once, write_array, write_bytes
from isoflop.text.document import DIGEST_BYTES, Documents, Indices, digest_of
from isoflop.text.parts import each
from isoflop.text.texts import Texts, strings

REJECTS = "-rejects.parquet"
"""How the names end of shards of documents that were dropped."""
SHARD_BYTES = 1 << 25
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
_REPEATING = ["source", "file", "reason"]
"""Columns whose values are few; looking for repeats among texts costs as much as compressing them."""


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
    """Writes ``folder / file``, to be read by the next stages. Raises `DiskError`; then nothing is left behind."""
    digests = b"".join(digest_of(entry.data) for entry in entries)
    sizes = np.array([len(entry.data) for entry in entries], dtype=np.int64)
    columns = [
        pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(entries), [None, pa.py_buffer(digests)]),
        pa.Array.from_buffers(pa.int64(), len(entries), [None, pa.py_buffer(sizes)]),
        strings([entry.data for entry in entries]),
    ]
    columns += [
        strings([getattr(entry, name).encode() for entry in entries], pa.string())
        for name in _COLUMNS.names[len(columns) :]
    ]
    return write_table(folder, file, pa.Table.from_arrays(columns, schema=_COLUMNS), compression="lz4")


def write_table(folder: Path, file: str, table: pa.Table, *, compression: str = "zstd") -> TextShard:
    """The same of documents that are a table already; by default small, to be kept, and not quick to write."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=compression, use_dictionary=_REPEATING, write_statistics=False)
    contents = memoryview(sink.getvalue())
    write_bytes(folder / file, contents)
    sha256 = hashlib.sha256(contents).hexdigest()
    return TextShard(file, sha256, table.num_rows, sum(table["num_bytes"].to_pylist()))


def write_numbers(folder: Path, file: str, array: NDArray[Any], num_documents: int = 0) -> TextShard:
    """Writes ``folder / file``, what a stage found out about documents. Raises `DiskError`."""
    return TextShard(file, write_array(folder / file, array), num_documents, array.nbytes)


@dataclass(frozen=True, slots=True)
class Shelf:
    """A shard and the folder it lies in. Reading raises `CorruptFileError` where its bytes are not those written."""

    folder: Path
    shard: TextShard

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Its documents."""
        path = self.folder / self.shard.file
        verify_once(path, self.shard.sha256)
        return pq.ParquetFile(path).read(columns=columns, use_threads=False)

    def texts(self) -> Texts:
        return column_of_texts(self.table(["text"]))

    def numbers(self) -> NDArray[Any]:
        """What `write_numbers` wrote."""
        return read_array(self.folder / self.shard.file, self.shard.sha256)


def column_of_texts(table: pa.Table) -> Texts:
    column = table["text"]
    return Texts.of_arrow(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())  # which copies


def beginning(data: bytes) -> str:
    """The first characters of a text, for people to look at."""
    return data[: 4 * _SAMPLE_CHARS].decode(errors="ignore")[:_SAMPLE_CHARS]


_OPENED: dict[Shelf, Texts] = {}
"""The shard that was read last."""


def _texts(shelf: Shelf) -> Texts:
    if shelf not in _OPENED:
        _OPENED.clear()  # and its memory given back before the next one is read: neither is small
        pa.default_memory_pool().release_unused()
        _OPENED[shelf] = shelf.texts()
    return _OPENED[shelf]


@dataclass(frozen=True)
class Shelves:
    """Shards as a `document.Store`: best read one after the other."""

    shelves: tuple[Shelf, ...]
    on_disk = True

    def text(self, file: int, row: int) -> bytes:
        return _texts(self.shelves[file])[row]

    def alone(self, files: Indices, rows: Indices) -> tuple[Shelves, Indices, Indices]:
        kept, renumbered = np.unique(files, return_inverse=True)
        return Shelves(tuple(self.shelves[file] for file in kept.tolist())), renumbered, rows


def stored(folder: Path, shards: Sequence[TextShard], executor: Executor | None = None) -> Documents:
    """The shards' documents, by identity and size; their texts stay on disk."""
    shelves = tuple(Shelf(folder, shard) for shard in sorted(shards, key=lambda shard: shard.file))
    found = dict(each(_identities, list(enumerate(shelves)), executor))
    tables = [found[number] for number in range(len(shelves))]
    files = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(table)) for table in tables)])
    digests, sizes = _values(tables, "id").view(np.uint8), _values(tables, "num_bytes").view(np.int64)
    return Documents(digests.reshape(-1, DIGEST_BYTES), sizes, files, rows, Shelves(shelves))


def _identities(numbered: tuple[int, Shelf]) -> tuple[int, pa.Table]:
    number, shelf = numbered
    return number, shelf.table(["id", "num_bytes"])


def _values(tables: Sequence[pa.Table], column: str) -> NDArray[np.uint8]:
    """The bytes of a column of numbers or of values of one size; Arrow's own way imports pandas, where that is."""
    width = DIGEST_BYTES if column == "id" else np.dtype(np.int64).itemsize
    chunks = [chunk for table in tables for chunk in table[column].chunks]
    found = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[width * chunk.offset : width * (chunk.offset + len(chunk))]
        for chunk in chunks
    ]
    return np.concatenate([np.zeros(0, np.uint8), *found])
