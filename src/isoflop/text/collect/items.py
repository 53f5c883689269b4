"""Benchmarks as people have them: files of questions, of which all that is written is read, whatever its field.

A benchmark that is read in part would let the rest of it through, so what is damaged is refused, not left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from isoflop.core.errors import TextError, first_line
from isoflop.text.collect.documents import documents, endings
from isoflop.text.collect.sources import File, display, read_errors
from isoflop.text.collect.streams import Refused, decompressed

_REMEDY = "Mend the file, or leave it out"


def items(file: File) -> list[bytes]:
    """The texts of a benchmark's items: all strings of a line of jsonl or a row of parquet, else documents.

    Raises `TextError` where the file, or a part of it, cannot be read.
    """
    form, compression = endings(file.path)
    try:
        with read_errors(file.path):
            if form == ".parquet" and not compression:
                return [_joined(row) for row in _rows(file)]
            if form in (".jsonl", ".json"):
                return [_joined(value) for value in _values(file, form, compression)]
            return [_whole(item) for item in documents(file)]
    except Refused as refusal:
        what = f"a benchmark that cannot be read: {refusal}"
        raise TextError(what, where=display(file.path), remedy=_REMEDY) from refusal


def _whole(item: Any) -> bytes:
    if isinstance(item, Refused):
        raise item
    data: bytes = item.data
    return data


def _rows(file: File) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise Refused("corrupt", f"corrupt parquet ({first_line(error)})") from error


def _values(file: File, form: str, compression: str) -> Iterator[Any]:
    """Of jsonl every line's, of json the elements of its list."""
    with file.open() as stream:
        data = b"".join(decompressed(stream, compression))
    if form == ".json":
        value = _parsed(data, "")
        yield from value if isinstance(value, list) else [value]
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield _parsed(line, f"line {number}")


def _parsed(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise Refused("malformed_line", "not JSON", place=place) from error


def _joined(value: Any) -> bytes:
    return "\n\n".join(_strings(value)).encode(errors="replace")


def _strings(value: Any) -> Iterator[str]:
    """Every string within lists and mappings, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
