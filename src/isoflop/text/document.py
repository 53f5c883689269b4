"""Documents as splitting and packing know them: identities and sizes in columns, their texts wherever they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
_COLUMNS = ("digests", "sizes", "files", "rows")

Indices = NDArray[np.int64]


class Store(Protocol):
    """Where texts are: rows of files, which are best read one after the other."""

    on_disk: bool

    def text(self, file: int, row: int) -> bytes: ...

    def alone(self, files: Indices, rows: Indices) -> tuple[Store, Indices, Indices]:
        """One that holds no more than these, and where they are in it."""
        ...


@dataclass(frozen=True)
class Held:
    """Texts in memory, as one file."""

    texts: Sequence[bytes]
    on_disk = False

    def text(self, file: int, row: int) -> bytes:
        return self.texts[row]

    def alone(self, files: Indices, rows: Indices) -> tuple[Held, Indices, Indices]:
        return Held([self.texts[row] for row in rows.tolist()]), files, np.arange(len(rows))


@dataclass(frozen=True, eq=False)
class Documents:
    """Texts of UTF-8, in any order. Iterating gives their bytes, read as they come."""

    digests: NDArray[np.uint8]
    """[documents, DIGEST_BYTES]: hashes that identify, deduplicate and order them."""
    sizes: NDArray[np.int64]
    """[documents]: bytes."""
    files: Indices
    """[documents]: in which file of the store each is,"""
    rows: Indices
    """[documents]: and which of that file's."""
    store: Store

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Documents:
        """Texts in memory."""
        sizes = np.array([len(text) for text in texts], dtype=np.int64)
        where = np.zeros(len(texts), dtype=np.int64), np.arange(len(texts))
        return cls(as_digests(map(digest_of, texts)), sizes, *where, Held(texts))

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[bytes]:
        return map(self.store.text, self.files.tolist(), self.rows.tolist())

    @property
    def num_bytes(self) -> int:
        return int(self.sizes.sum())

    def take(self, indices: NDArray[Any]) -> Documents:
        """Those of these indices, in their order."""
        columns: dict[str, Any] = {name: getattr(self, name)[indices] for name in _COLUMNS}
        return replace(self, **columns)

    def alone(self) -> Documents:
        """The same with a store of no more, for another process."""
        store, files, rows = self.store.alone(self.files, self.rows)
        return replace(self, store=store, files=files, rows=rows)

    def joined(self, *others: Documents) -> Documents:
        """With others of the same store behind them."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(each, name) for each in (self, *others)]) for name in _COLUMNS
        }
        return replace(self, **columns)

    def reading_order(self) -> Indices:
        """Their indices in the order in which they are best read: file by file."""
        return np.lexsort((self.rows, self.files))

    def names(self) -> list[bytes]:
        """Their digests."""
        data = self.digests.tobytes()
        return [data[start : start + DIGEST_BYTES] for start in range(0, len(data), DIGEST_BYTES)]


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def as_digests(digests: Iterator[bytes]) -> NDArray[np.uint8]:
    """[documents, DIGEST_BYTES]"""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def order_of(digests: NDArray[np.uint8]) -> Indices:
    """The indices that sort them as bytes are sorted."""
    halves = np.ascontiguousarray(digests).view(">u8")
    return np.lexsort((halves[:, 1], halves[:, 0]))
