"""How one long file is divided: jsonl by bytes, whose lines belong where they begin, parquet by rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from isoflop.text.collect.documents import endings
from isoflop.text.collect.sources import File
from isoflop.text.collect.streams import Refused

SPAN_BYTES = 1 << 26
"""A file of twice this and more is read in parts of about this size."""
MAX_CUTS = 8
"""Parts of one row group."""


def spans(file: File) -> list[File]:
    """The file whole, or its parts in order where its format can be entered in the middle."""
    form, compression = endings(file.path)
    if file.size < 2 * SPAN_BYTES or compression:
        return [file]
    if form == ".jsonl":
        count = file.size // SPAN_BYTES
        return [_part(file, *bounds) for bounds in pairwise(file.size * k // count for k in range(count + 1))]
    return list(_rows(file)) if form == ".parquet" else [file]


def _part(file: File, start: int, end: int) -> File:
    return replace(file, size=end - start, span=(start, end))


def _rows(file: File) -> Iterator[File]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as stream:
            metadata = pq.ParquetFile(stream).metadata
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError, Refused):
        yield file  # whoever reads it tells what is wrong
        return
    for start, end, size in _ranges(sizes):
        yield replace(file, size=size, span=(start, end))


def _ranges(groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """First row, the one behind the last, and bytes: small row groups together, a large one in even parts. To come to
    the middle of one, all before it has to be decompressed, hence not in more than ``MAX_CUTS``."""
    start = end = size = 0
    for num_rows, num_bytes in groups:
        count = min(MAX_CUTS, num_bytes // SPAN_BYTES, num_rows)
        if count > 1:
            if end > start:
                yield start, end, size
            bounds = [end + num_rows * k // count for k in range(count + 1)]
            yield from ((first, last, num_bytes // count) for first, last in pairwise(bounds))
            start = end = bounds[-1]
            size = 0
            continue
        end, size = end + num_rows, size + num_bytes
        if size >= SPAN_BYTES:
            yield start, end, size
            start, size = end, 0
    if end > start:
        yield start, end, size
