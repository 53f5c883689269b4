"""Work on many documents part by part: those on disk file by file, wherever the executor takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from isoflop.core.executor import Executor
from isoflop.text.document import Documents, Indices

R = TypeVar("R")
T = TypeVar("T")
_PART_BYTES = 4_000_000
"""About; another process is given whole files, which it reads once."""


def spread(
    work: Callable[[Documents], R], documents: Documents, executor: Executor | None
) -> Generator[tuple[Indices, R]]:
    """The indices of every part of ``documents`` and what ``work`` makes of it, as they come; in a part the indices are
    in reading order.

    Documents in memory stay in this process, as do all without an ``executor``; for one, ``work`` must be importable.
    """
    elsewhere = executor if documents.store.on_disk else None
    parts = _parts(documents, whole_files=elsewhere is not None)
    if elsewhere is None:
        for part in parts:
            yield part, work(documents.take(part))
    else:
        named = [(number, documents.take(part).alone()) for number, part in enumerate(parts)]
        named.sort(key=lambda each: each[1].num_bytes, reverse=True)  # lest all wait for the largest at the end
        for number, result in elsewhere.map(partial(_numbered, work), named):
            yield parts[number], result


def each(work: Callable[[T], R], items: Sequence[T], executor: Executor | None) -> Iterable[R]:
    """What light ``work`` makes of the items, in any order: by the executor where that is near, else here."""
    return executor.map(work, items) if executor is not None and executor.is_near else map(work, items)


def neighbours(documents: Documents, most_bytes: int) -> Documents:
    """Documents that lie in the same file as the first one, of ``most_bytes`` or little more: they are quickly read."""
    same = np.flatnonzero(documents.files == documents.files[:1])
    return documents.take(same[: bounds(documents.sizes[same], most_bytes)[:2][-1]]).alone()


def bounds(sizes: NDArray[np.int64], limit: int) -> list[int]:
    """Where parts begin, and the last one ends: each with the first that takes it to ``limit``, which is 1 or more."""
    assert limit >= 1, "or parts would be empty"
    ends, found = np.cumsum(sizes), [0]
    while found[-1] < len(ends):
        before = int(ends[found[-1] - 1]) if found[-1] else 0
        found.append(min(int(np.searchsorted(ends, before + limit)) + 1, len(ends)))
    return found


def batches(documents: Documents, limit: int) -> Iterator[Indices]:
    """Indices in reading order, of documents of about ``limit`` bytes together."""
    order = documents.reading_order()
    for first, last in pairwise(bounds(documents.sizes[order], limit)):
        yield order[first:last]


def _numbered(work: Callable[[Documents], R], part: tuple[int, Documents]) -> tuple[int, R]:
    return part[0], work(part[1])


def _parts(documents: Documents, *, whole_files: bool) -> list[Indices]:
    """Indices file by file, of larger files in parts."""
    order = documents.reading_order()
    files = np.split(order, np.flatnonzero(np.diff(documents.files[order])) + 1) if len(order) else []
    if whole_files:
        return files
    return [file[first:last] for file in files for first, last in pairwise(bounds(documents.sizes[file], _PART_BYTES))]
