"""From files to documents: what can be read is read, what cannot is counted and named.

A document is the UTF-8 bytes of one text: a whole ``.txt`` or ``.md`` file, a line of ``.jsonl``, a row of
``.parquet``; each file also as ``.gz`` or ``.zst``. Bytes, because sizes and checksums are measured on them.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.core.errors import TextError
from isoflop.core.products import StudyWarning

TEXT_FIELDS = ("text", "content")
"""The field of a jsonl line and the column of a parquet file that hold the text; the first one present counts."""

_NUM_EXAMPLES = 3
_STUDY_MARK = "study.toml"


@dataclass(frozen=True, slots=True)
class Document:
    """One text as UTF-8 bytes with the hash that identifies, deduplicates and orders it."""

    data: bytes
    digest: bytes

    @classmethod
    def of(cls, data: bytes) -> Document:
        return cls(data, hashlib.blake2b(data, digest_size=16).digest())


@dataclass(frozen=True)
class Reading:
    """What the input files held."""

    documents: list[Document]
    """Kept documents, distinct and in the order of their hashes: independent of file names and their order."""
    fingerprint: str
    num_files: int
    """Files that gave text."""
    num_dropped: dict[str, int]
    warnings: list[StudyWarning]


@dataclass(frozen=True)
class _BadLine:
    number: int
    reason: str


class _Unreadable(Exception):
    """A file as a whole gives no text; the message says why."""


@contextmanager
def _read_errors(path: Path | None = None) -> Iterator[None]:
    """Turns the operating system's errors into a `TextError` that names ``path``, or the one that the error names."""
    try:
        yield
    except OSError as error:
        what, where = f"cannot be read ({error.strerror})", display(path or error.filename or "")
        raise TextError(what, where=where, remedy="Make it readable, or leave it out") from error


def display(path: Path | str) -> str:
    """The path as text that can be printed and saved: bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode(errors="replace")


@_read_errors()
def read(inputs: list[Path], *, progress: Callable[[float], None] = lambda fraction: None) -> Reading:
    """Reads all documents under ``inputs``, drops empty ones and exact duplicates.

    ``progress`` is told the share of the input bytes read. Raises `TextError` for a missing path, an empty folder, a
    study folder, a file or folder that may not be read, or inputs in which no text was found.
    """
    files = find_files(inputs)
    sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
    collected = _Collected()
    done = 0
    for file, size in zip(files, sizes, strict=True):
        collected.add_file(file)
        done += size
        progress(done / max(sum(sizes), 1))
    reading = collected.reading()
    if not reading.documents:
        raise _nothing_found(inputs, files, reading.num_dropped)
    return reading


@_read_errors()
def fingerprint(inputs: list[Path]) -> str:
    """Identity of a corpus, hex: SHA-256 over the sorted SHA-256 digests of all files of a known format.

    Names, folders and order do not matter, every byte does. Raises `TextError` as `find_files` does.
    """
    digests = []
    for file in find_files(inputs):
        if _format(file) in _PARSERS and file.is_file():
            with file.open("rb") as stream:
                digests.append(hashlib.file_digest(stream, "sha256").digest())
    return _combine(digests)


@_read_errors()
def find_files(inputs: list[Path]) -> list[Path]:
    """All files under ``inputs``, sorted, each once, without hidden ones, study folders and links to folders.

    Raises `TextError` for a path that does not exist, a folder without files, one that may not be read, or a study.
    """
    files: dict[Path, Path] = {}
    for path in inputs:
        if not path.exists():
            raise TextError("no such file or folder", where=display(path), remedy="Check the path")
        found = _walk(path) if path.is_dir() else [path]
        if not found:
            raise TextError("the folder has no files", where=display(path), remedy=f"Put text files there ({_KNOWN})")
        files.update({file.resolve(): file for file in found})
    return [files[key] for key in sorted(files)]


def keep_distinct(documents: list[Document], num_dropped: Counter[str]) -> list[Document]:
    """Documents in the order of their hashes, without whitespace-only ones and duplicates, which are counted."""
    distinct = {document.digest: document for document in documents if document.data.strip()}
    num_empty = sum(not document.data.strip() for document in documents)
    num_dropped.update(empty=num_empty, duplicate=len(documents) - num_empty - len(distinct))
    return [distinct[key] for key in sorted(distinct)]


@dataclass
class _Collected:
    documents: list[Document] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    num_files: int = 0
    num_dropped: Counter[str] = field(default_factory=Counter)
    bad_lines: list[str] = field(default_factory=list)
    bad_files: list[str] = field(default_factory=list)

    def add_file(self, file: Path) -> None:
        parse = _PARSERS.get(_format(file))
        if parse is None:
            self.num_dropped["unknown_format"] += 1
            return
        try:
            items = list(parse(self._contents(file)))
        except _Unreadable as error:
            self.num_dropped["undecodable_file"] += 1
            self.bad_files.append(f"{display(file)}: {error}")
            return
        self.num_files += 1
        for item in items:
            if isinstance(item, _BadLine):
                self.num_dropped["malformed_line"] += 1
                self.bad_lines.append(f"{display(file)}:{item.number} ({item.reason})")
            else:
                self.documents.append(Document.of(item.removeprefix(codecs.BOM_UTF8)))

    def _contents(self, file: Path) -> bytes:
        if not file.is_file():
            raise _Unreadable("not a regular file")
        with _read_errors(file):  # a read that fails midway does not name its file
            raw = file.read_bytes()
        self.digests.append(hashlib.sha256(raw).digest())
        return _decompress(raw, file.suffix.lower())

    def reading(self) -> Reading:
        documents = keep_distinct(self.documents, self.num_dropped)
        dropped = {reason: count for reason, count in sorted(self.num_dropped.items()) if count}
        warnings = []
        if self.bad_lines:
            warnings.append(StudyWarning("malformed_lines", f"skipped {_some(self.bad_lines, 'malformed line')}"))
        if self.bad_files:
            warnings.append(StudyWarning("undecodable_file", f"skipped {_some(self.bad_files, 'unreadable file')}"))
        return Reading(documents, _combine(self.digests), self.num_files, dropped, warnings)


def _combine(digests: list[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _some(items: list[str], noun: str) -> str:
    more = ", ..." if len(items) > _NUM_EXAMPLES else ""
    return f"{len(items)} {noun}{'s' * (len(items) > 1)}: {', '.join(items[:_NUM_EXAMPLES])}{more}"


def _nothing_found(inputs: list[Path], files: list[Path], num_dropped: dict[str, int]) -> TextError:
    suffixes = sorted({display(file.suffix or file.name) for file in files})
    counts = ", ".join(f"{count} {reason}" for reason, count in num_dropped.items())
    found = f"{len(files)} files ({', '.join(suffixes[:6])}), {counts or 'none with text'}"
    where = ", ".join(display(path) for path in inputs[:_NUM_EXAMPLES])
    return TextError(f"no text found among {found}", where=where, remedy=f"Give UTF-8 text as {_KNOWN}")


def _walk(root: Path) -> list[Path]:
    if (root / _STUDY_MARK).exists():
        raise TextError("this is a study folder, not text", where=display(root), remedy="Give the folder of your texts")
    files = []
    for folder, subfolders, names in os.walk(root, onerror=_raise):
        here = Path(folder)
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and not (here / n / _STUDY_MARK).exists()]
        files += [here / name for name in names if not name.startswith(".")]
    return files


def _raise(error: OSError) -> None:
    raise error  # os.walk would leave the folder out without a word


def _format(file: Path) -> str:
    name = file.name.lower()
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix


def _decompress(raw: bytes, suffix: str) -> bytes:
    try:
        if suffix == ".gz":
            return gzip.decompress(raw)
        return _decompress_zstd(raw) if suffix == ".zst" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise _Unreadable(f"corrupt {suffix[1:]} ({error})") from error


def _decompress_zstd(raw: bytes) -> bytes:
    """All frames of ``raw``; unlike the library's reader, a file cut off in the middle is an error."""
    import zstandard

    parts = []
    while raw:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            parts.append(frame.decompress(raw))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
        if not frame.eof:
            raise EOFError("it ends in the middle of a frame")
        raw = frame.unused_data
    return b"".join(parts)


def _parse_plain(data: bytes) -> Iterator[bytes]:
    _refuse_binary(data)
    _check_utf8(data)
    yield data


def _parse_jsonl(data: bytes) -> Iterator[bytes | _BadLine]:
    _refuse_binary(data)
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            yield _parse_line(line, number)


def _parse_line(line: bytes, number: int) -> bytes | _BadLine:
    try:
        value = json.loads(line.decode())
        text = next((value[name] for name in TEXT_FIELDS if name in value), None) if isinstance(value, dict) else None
        return text.encode() if isinstance(text, str) else _BadLine(number, "no text field")
    except UnicodeError:
        return _BadLine(number, "not UTF-8")
    except (ValueError, RecursionError):
        return _BadLine(number, "not JSON")


def _parse_parquet(data: bytes) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        name = next((name for name in TEXT_FIELDS if name in file.schema_arrow.names), None)
        if name is None:
            raise _Unreadable("no column named text or content")
        for batch in file.iter_batches(batch_size=1024, columns=[name]):
            for cell in batch.column(0).cast(pa.large_string()).cast(pa.large_binary()).to_pylist():
                _check_utf8(cell or b"")
                yield cell or b""
    except (pa.ArrowException, OSError) as error:
        raise _Unreadable(f"corrupt parquet ({str(error).splitlines()[0]})") from error


def _refuse_binary(data: bytes) -> None:
    offset = data.find(b"\0")
    if offset >= 0:
        raise _Unreadable(f"binary (NUL byte at offset {offset})")


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise _Unreadable(f"not UTF-8 (bad byte at offset {error.start})") from error


_PARSERS: dict[str, Callable[[bytes], Iterator[Any]]] = {
    ".txt": _parse_plain,
    ".md": _parse_plain,
    ".jsonl": _parse_jsonl,
    ".parquet": _parse_parquet,
}
_KNOWN = f"{', '.join(_PARSERS)}, also .gz or .zst"
