"""Work on many documents part by part: those on disk shard by shard, wherever the executor takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import TypeVar

from isoflop.core.executor import Executor
from isoflop.text.document import Document, file_of, reading_order

R = TypeVar("R")
T = TypeVar("T")
_PART_BYTES = 4_000_000
"""About; another process is given whole shards, which it reads once."""


def spread(
    work: Callable[[list[Document]], R], documents: Sequence[Document], executor: Executor | None
) -> Generator[tuple[list[int], R]]:
    """The indices of every part of ``documents`` and what ``work`` makes of it, as they come; in a part the indices are
    in reading order.

    Documents in memory stay in this process, as do all without an ``executor``; for one, ``work`` must be importable.
    """
    here, stored = _parts(documents, whole_shards=executor is not None)
    for part in here if executor is not None else [*here, *stored]:
        yield part, work([documents[index] for index in part])
    if executor is not None:
        named = [(number, [documents[index] for index in part]) for number, part in enumerate(stored)]
        for number, result in executor.map(partial(_numbered, work), named):
            yield stored[number], result


def each(work: Callable[[T], R], items: Sequence[T], executor: Executor | None) -> Iterable[R]:
    """What light ``work`` makes of the items, in any order: by the executor where that is near, else here."""
    return executor.map(work, items) if executor is not None and executor.is_near else map(work, items)


def neighbours(documents: Sequence[Document], most_bytes: int) -> list[Document]:
    """Documents that lie in the same file as the first one, of about ``most_bytes``: they are quickly read."""
    found: list[Document] = []
    for document in documents:
        if most_bytes <= 0:
            break
        if file_of(document) == file_of(documents[0]):
            found.append(document)
            most_bytes -= document.num_bytes
    return found


def _numbered(work: Callable[[list[Document]], R], part: tuple[int, list[Document]]) -> tuple[int, R]:
    return part[0], work(part[1])


def _parts(documents: Sequence[Document], *, whole_shards: bool) -> tuple[list[list[int]], list[list[int]]]:
    """Indices of those in memory, and of those on disk file by file."""
    here: list[list[int]] = []
    stored: list[list[int]] = []
    last, size = "", 0
    for index in reading_order(documents):
        document = documents[index]
        file = file_of(document)
        parts = stored if file else here
        full = size >= _PART_BYTES and not (file and whole_shards)
        if not parts or file != last or full:
            parts.append([])
            last, size = file, 0
        parts[-1].append(index)
        size += document.num_bytes
    return here, stored
