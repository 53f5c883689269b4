"""From the bytes of a file to its documents, one at a time: what can be read is read, what cannot is named.

A document is the UTF-8 bytes of one text: a whole ``.txt`` or ``.md`` file, a line of ``.jsonl``, a row of ``.csv``,
``.tsv`` or ``.parquet``, a page of ``.html`` or ``.warc``. Memory is bounded by one document, and a document by
``MAX_BYTES``.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from isoflop.text.collect.streams import BLOCK_BYTES, BlockReader, Blocks, Refused

MAX_BYTES = 1 << 24
"""A plain text beyond twice this is cut into documents of about this size."""
MAX_RECORD_BYTES = 4 * MAX_BYTES
"""A line, row or page beyond this is refused."""
TEXT_FIELDS = ("text", "content")
"""The field or column that holds the text unless it is named; the first one present counts."""
CUTS = (re.compile(rb"\n[ \t\r]*\n\s*"), re.compile(rb"\n"), re.compile(rb"\s"))
"""Where a text may be cut, best first: after blank lines, lines, spaces."""


class Raw(NamedTuple):
    """One text as it stands in a file."""

    data: bytes
    place: str = ""
    """Line, row or record within the file."""


Found = Iterator[Raw | Refused]
"""Documents and records that give none; a `Refused` raised ends the file."""


def plain(blocks: Blocks, field: str | None = None) -> Found:
    """A whole file as one document, or as several where it is very long."""
    pending, start, decoder = bytearray(), 0, codecs.getincrementaldecoder("utf-8")()
    for block in blocks:
        _check(block, start + len(pending), decoder)
        pending += block
        while len(pending) > 2 * MAX_BYTES:
            cut = _cut(pending)
            yield Raw(_unmarked(bytes(pending[:cut]), start), f"byte {start}")
            del pending[:cut]
            start += cut
    _check(b"", start + len(pending), decoder, final=True)
    yield Raw(_unmarked(bytes(pending), start), f"byte {start}" if start else "")


def jsonl(blocks: Blocks, field: str | None = None, *, first_byte: int = 0) -> Found:
    """A line a document; of part of a file, ``first_byte`` is where it begins."""
    for place, line in _lines(blocks, first_byte):
        if isinstance(line, Refused):
            yield line
        elif line.strip():
            yield _of_json(line.removeprefix(codecs.BOM_UTF8), place, field)


def table(blocks: Blocks, field: str | None = None, *, delimiter: str = ",") -> Found:
    """A row a document, by the header's text column."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    rows = csv.reader(_decoded(blocks), delimiter=delimiter, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        column = header.index(text_column(header, field))
        for row in rows:
            place = f"line {rows.line_num}"
            if len(row) > column:
                yield Raw(row[column].encode(), place)
            elif row:
                yield Refused("malformed_line", f"{len(row)} of {len(header)} columns", place=place)
    except csv.Error as error:
        raise Refused("corrupt", f"corrupt csv ({error})", place=f"line {rows.line_num}") from error


def text_column(names: list[str], field: str | None) -> str:
    """The column that holds the text; raises `Refused` where there is none."""
    wanted = (field,) if field else TEXT_FIELDS
    found = next((name for name in wanted if name in names), None)
    if found is None:
        has = ", ".join(names[:8])
        raise Refused("no_text_column", f"no column named {' or '.join(wanted)} among {has}")
    return found


def bounded(blocks: Blocks) -> bytes:
    """All of a page; `Refused` where it is too long to be one."""
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > MAX_RECORD_BYTES:
            raise _too_long()
    return bytes(data)


def refuse_binary(block: bytes, start: int) -> None:
    """Raises `Refused` where the block, which begins at byte ``start``, has a NUL."""
    offset = block.find(b"\0")
    if offset >= 0:
        raise Refused("binary", "binary (NUL)", place=f"byte {start + offset}")


def _lines(blocks: Blocks, start: int) -> Iterator[tuple[str, bytes | Refused]]:
    """Lines from byte ``start`` on, and where; one too long is named and skipped."""
    behind, number = f" behind byte {start}" if start else "", 0
    stream = io.BufferedReader(BlockReader(blocks), BLOCK_BYTES)
    while line := stream.readline(MAX_RECORD_BYTES + 1):
        refuse_binary(line, start)
        start, number = start + len(line), number + 1
        place = f"line {number}{behind}"
        if len(line) <= MAX_RECORD_BYTES:
            yield place, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_RECORD_BYTES)
            start += len(line)
        yield place, _too_long(place)


def _too_long(place: str = "") -> Refused:
    return Refused("too_long", f"a record over {MAX_RECORD_BYTES >> 20} MB", place=place)


def _of_json(line: bytes, place: str, field: str | None) -> Raw | Refused:
    names = (field,) if field else TEXT_FIELDS
    try:
        value = orjson.loads(line)
        text = next((value[name] for name in names if name in value), None) if isinstance(value, dict) else None
        if isinstance(text, str):
            return Raw(text.encode(), place)
        return Refused("malformed_line", "no text field" if text is None else "a text that is none", place=place)
    except ValueError as error:
        return Refused("malformed_line", "not UTF-8" if "UTF-8" in str(error) else "not JSON", place=place)


def _decoded(blocks: Blocks) -> Iterator[str]:
    """Lines of text, whatever ends them in the file, for the csv module."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    pending, start = "", 0
    for block in blocks:
        refuse_binary(block, start)
        pending += _decode(decoder, block, start)
        pending = pending if start else pending.removeprefix("\ufeff")
        start += len(block)
        held = "\r" if pending.endswith("\r") else ""  # half of a line's end, perhaps
        *whole, pending = _fed(pending.removesuffix(held)).split("\n")
        pending += held
        yield from (f"{line}\n" for line in whole)
        if len(pending) > MAX_RECORD_BYTES:
            raise _too_long(f"byte {start}")
    yield from _fed(pending + _decode(decoder, b"", start, final=True)).splitlines(keepends=True)


def _fed(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cut(data: bytearray) -> int:
    """Where a document of about MAX_BYTES ends; in the middle of nothing but endless letters, and never of one."""
    for pattern in CUTS:
        if match := pattern.search(data, MAX_BYTES, 2 * MAX_BYTES):
            return match.end()
    cut = MAX_BYTES
    while data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _check(block: bytes, start: int, decoder: codecs.IncrementalDecoder, *, final: bool = False) -> None:
    refuse_binary(block, start)
    _decode(decoder, block, start, final=final)


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, start: int, *, final: bool = False) -> str:
    held = len(decoder.getstate()[0])
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", "not UTF-8 (bad byte)", place=f"byte {start - held + error.start}") from error


def _unmarked(data: bytes, start: int) -> bytes:
    return data if start else data.removeprefix(codecs.BOM_UTF8)
