"""How one long file is divided: jsonl by bytes, whose lines belong where they begin, parquet by row groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from isoflop.text.collect.documents import endings
from isoflop.text.collect.sources import File
from isoflop.text.collect.streams import Refused

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
