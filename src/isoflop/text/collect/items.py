"""Benchmarks as people have them: files of questions, of which all that is written is read, whatever its field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import File, read_errors
from isoflop.text.collect.streams import COMPRESSIONS, Refused, decompressed


def items(file: File) -> list[bytes]:
    """The texts of a benchmark's items: all strings of a line of jsonl or a row of parquet, else documents.

    Raises `TextError` where the file cannot be read; what is damaged in it is left out.
    """
    with read_errors(file.path):
        if file.path.endswith(".parquet"):
            return [_joined(row) for row in _rows(file)]
        if ".jsonl" in file.path or ".json" in file.path:
            return [_joined(value) for value in _lines(file)]
        return [item.data for item in documents(file) if isinstance(item, Raw)]


def _rows(file: File) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError):
        return


def _lines(file: File) -> Iterator[Any]:
    suffix = next((suffix for suffix in COMPRESSIONS if file.path.endswith(suffix)), "")
    try:
        with file.open() as stream:
            data = b"".join(decompressed(stream, suffix))
    except Refused:
        return
    for line in data.split(b"\n"):
        try:
            yield orjson.loads(line)
        except ValueError:
            continue


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
