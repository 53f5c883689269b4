"""From a file to its documents, by its name's endings: compression taken off, archives opened, formats read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from isoflop.text.collect.archives import Members, tar_members, zip_members
from isoflop.text.collect.formats import Found, Raw, jsonl, plain, table
from isoflop.text.collect.sources import File
from isoflop.text.collect.streams import COMPRESSIONS, BlockReader, Blocks, Refused, decompressed, lines_within
from isoflop.text.collect.web import page, warc

STREAMED: dict[str, Callable[[Blocks, str | None], Found]] = {
    ".txt": plain,
    ".md": plain,
    ".jsonl": jsonl,
    ".csv": table,
    ".tsv": partial(table, delimiter="\t"),
    ".html": page,
    ".htm": page,
}
"""Formats that are read from front to back."""
SEEKING = (".parquet", ".arrow", ".warc")
"""Formats whose reader wants to move about."""
ARCHIVES = (".zip", ".tar", ".tgz")
KNOWN = f"{', '.join([*STREAMED, *SEEKING])}, also in {', '.join(ARCHIVES)} and as {', '.join(COMPRESSIONS)}"
_SPOOLED_BYTES = 1 << 26


def is_known(name: str) -> bool:
    """Whether a file of this name can hold text."""
    form, _ = endings(name)
    return form in STREAMED or form in SEEKING or form in ARCHIVES


def documents(file: File, *, field: str | None = None) -> Iterator[Raw | Refused]:
    """Every document of the file, and every record and part that gives none; nothing is raised for what is in it.

    Raises ``OSError`` where the file cannot be read.
    """
    if not is_known(file.path):
        yield Refused("unknown_format", f"a format that is not read: {PurePosixPath(file.name).suffix or 'none'}")
        return
    try:
        with file.open() as stream:
            yield from _part(stream, file, field) if file.span else _documents(stream, file.path, field)
    except Refused as refusal:
        yield refusal


def _part(stream: IO[bytes], file: File, field: str | None) -> Found:
    from isoflop.text.collect.columns import parquet

    assert file.span is not None
    if endings(file.path)[0] == ".parquet":
        return parquet(stream, field, file.span)
    first, lines = lines_within(stream, *file.span)
    return jsonl(lines, field, first_byte=first)


def _documents(stream: IO[bytes], name: str, field: str | None) -> Found:
    form, compression = endings(name)
    if form == ".zip":
        yield from _members(zip_members(stream), field)
    elif form in ARCHIVES:
        yield from _members(tar_members(decompressed(stream, compression)), field)
    elif form in SEEKING and (not compression or form == ".warc"):  # its reader knows compression
        yield from _sought(stream, form, field)
    else:
        yield from _parsed(decompressed(stream, compression), form, field)


def _members(members: Members, field: str | None) -> Found:
    for member in members:
        if isinstance(member, Refused):
            yield member
            continue
        name, blocks = member
        form, compression = endings(name)
        if form not in STREAMED and form not in SEEKING:
            yield Refused("unknown_format", f"a format that is not read: {form or 'none'}", place=name)
            continue
        try:
            for item in _parsed(_unpacked(blocks, compression), form, field):
                yield item.within(name) if isinstance(item, Refused) else Raw(item.data, _inside(name, item.place))
        except Refused as refusal:
            yield refusal.within(name)


def _inside(name: str, place: str) -> str:
    return f"{place} of {name}" if place else name


def _unpacked(blocks: Blocks, compression: str) -> Blocks:
    return decompressed(BlockReader(blocks), compression) if compression else blocks  # type: ignore[arg-type]


def _parsed(blocks: Blocks, form: str, field: str | None) -> Found:
    if form in STREAMED:
        yield from STREAMED[form](blocks, field)
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as spooled:
        for block in blocks:
            spooled.write(block)
        spooled.seek(0)
        yield from _sought(spooled, form, field)


def _sought(stream: IO[bytes], form: str, field: str | None) -> Found:
    if form == ".warc":
        return warc(stream, field)
    from isoflop.text.collect.columns import arrow, parquet

    return parquet(stream, field) if form == ".parquet" else arrow(stream, field)


def endings(name: str) -> tuple[str, str]:
    """Format and compression by the name: of ``a.jsonl.gz`` they are ``.jsonl`` and ``.gz``."""
    path = PurePosixPath(name.lower().replace("\\", "/"))
    compression = path.suffix if path.suffix in COMPRESSIONS else ""
    form = path.with_suffix("").suffix if compression else path.suffix
    return (form, ".gz") if form == ".tgz" else (form, compression)
