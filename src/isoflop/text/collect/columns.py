"""Documents of columnar files, a batch at a time: parquet, and the Arrow files of a Hugging Face ``datasets`` folder"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from isoflop.core.errors import first_line
from isoflop.text.collect.formats import MAX_RECORD_BYTES, Found, Raw, text_column
from isoflop.text.collect.streams import Refused

BATCH_ROWS = 256
_ERRORS = (pa.ArrowException, OSError)


def parquet(stream: IO[bytes], field: str | None = None, rows: tuple[int, int] | None = None) -> Found:
    """A row a document, of these rows (first, behind the last) or all; needs a stream that can seek."""
    try:
        file = pq.ParquetFile(stream)
        name = text_column(file.schema_arrow.names, field)
        start, end = rows or (0, file.metadata.num_rows)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        bounds = list(pairwise(accumulate(sizes, initial=0)))
        groups = [group for group, (first, last) in enumerate(bounds) if first < end and last > start]
        batches = file.iter_batches(BATCH_ROWS, row_groups=groups, columns=[name], use_threads=False)
        before = bounds[groups[0]][0] if groups else start
        yield from _rows(_within((batch.column(0) for batch in batches), start - before, end - before), start)
    except _ERRORS as error:
        raise Refused("corrupt", f"corrupt parquet ({first_line(error)})") from error


def _within(columns: Iterator[pa.Array], start: int, end: int) -> Iterator[pa.Array]:
    """Rows ``start`` to ``end`` of them; what lies behind is not read."""
    for column in columns:
        if end <= 0:
            return
        if start < len(column):
            yield column.slice(max(start, 0), end - max(start, 0))
        start, end = start - len(column), end - len(column)


def arrow(stream: IO[bytes], field: str | None = None) -> Found:
    """The same of an Arrow stream (what ``datasets`` writes) or an Arrow file."""
    try:
        yield from _rows(_arrow_columns(stream, field))
    except _ERRORS as error:
        raise Refused("corrupt", f"corrupt arrow ({first_line(error)})") from error


def _arrow_columns(stream: IO[bytes], field: str | None) -> Iterator[pa.Array]:
    try:
        reader = pa.ipc.open_stream(stream)
        batches: Iterator[pa.RecordBatch] = iter(reader)
    except pa.ArrowInvalid:
        stream.seek(0)
        reader = pa.ipc.open_file(stream)
        batches = map(reader.get_batch, range(reader.num_record_batches))
    name = text_column(reader.schema.names, field)
    return (batch.column(name) for batch in batches)


def _rows(columns: Iterator[pa.Array], num_before: int = 0) -> Found:
    for column in columns:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise Refused("no_text_column", f"the column of texts holds {column.type}")
        for start in range(0, len(column), BATCH_ROWS):
            part = column.slice(start, BATCH_ROWS).cast(pa.large_string())
            is_valid = _is_utf8(part)
            for number, cell in enumerate(part.cast(pa.large_binary()).to_pylist(), start=num_before + 1):
                yield _checked(cell, f"row {number}", is_valid)
            num_before += len(part)


def _is_utf8(column: pa.Array) -> bool:
    """Whether all of it is: Arrow looks at a column faster than Python does at its cells."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _checked(cell: bytes | None, place: str, is_utf8: bool) -> Raw | Refused:
    if cell is None:
        return Refused("missing_text", "no text", place=place)
    if len(cell) > MAX_RECORD_BYTES:
        return Refused("too_long", f"a record over {MAX_RECORD_BYTES >> 20} MB", place=place)
    if not is_utf8:
        try:
            cell.decode()
        except UnicodeDecodeError as error:
            return Refused("not_utf8", f"not UTF-8 (bad byte {error.start} of the text)", place=place)
    return Raw(cell, place)
