"""Parts of one long file that are read apart: lines of jsonl by where they begin, row groups of parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import IO

from isoflop.text.collect.documents import endings
from isoflop.text.collect.sources import File
from isoflop.text.collect.streams import BLOCK_BYTES, Blocks, Refused, blocks

SPAN_BYTES = 1 << 26
"""A file of twice this and more is read in parts of about this size."""


def spans(file: File) -> list[File]:
    """The file whole, or its parts in order where its format can be entered in the middle."""
    form, compression = endings(file.path)
    if file.size < 2 * SPAN_BYTES or compression:
        return [file]
    if form == ".jsonl":
        count = file.size // SPAN_BYTES
        return [_part(file, *bounds) for bounds in pairwise(file.size * k // count for k in range(count + 1))]
    return list(_row_groups(file)) if form == ".parquet" else [file]


def _part(file: File, start: int, end: int) -> File:
    return replace(file, size=end - start, span=(start, end))


def _row_groups(file: File) -> Iterator[File]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as stream:
            metadata = pq.ParquetFile(stream).metadata
            sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError, Refused):
        yield file  # whoever reads it tells what is wrong
        return
    start, size = 0, 0
    for number, each in enumerate(sizes, start=1):
        size += each
        if size >= SPAN_BYTES or number == len(sizes):
            yield replace(file, size=size, span=(start, number))
            start, size = number, 0


def lines_within(stream: IO[bytes], start: int, end: int) -> tuple[int, Blocks]:
    """Where the first line that begins in [start, end) does, and blocks of all such lines, whole."""
    first = _begin_of_line(stream, start)
    stream.seek(first)
    return first, _whole_lines(stream, end - first)


def _begin_of_line(stream: IO[bytes], start: int) -> int:
    if start == 0:
        return 0
    position = start - 1  # its line feed, perhaps
    stream.seek(position)
    for block in blocks(stream):
        place = block.find(b"\n")
        if place >= 0:
            return position + place + 1
        position += len(block)
    return position


def _whole_lines(stream: IO[bytes], num_bytes: int) -> Blocks:
    last = b"\n"
    while num_bytes > 0 and (last := stream.read(min(num_bytes, BLOCK_BYTES))):
        num_bytes -= len(last)
        yield last
    if last.endswith(b"\n") or not last:
        return
    for block in blocks(stream):
        head, feed, _ = block.partition(b"\n")
        yield head + feed
        if feed:
            return
