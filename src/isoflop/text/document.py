"""A document as splitting and packing know it: an identity and a size at hand, and its bytes wherever they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

DIGEST_BYTES = 16


class Stored(Protocol):
    """Where a document lies on disk."""

    @property
    def place(self) -> tuple[str, int]:
        """File and row: documents are best read in this order."""
        ...

    def read(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Document:
    """One text of UTF-8 with the hash that identifies, deduplicates and orders it."""

    digest: bytes
    num_bytes: int
    origin: bytes | Stored
    """The text itself, or where it lies."""

    @classmethod
    def of(cls, data: bytes) -> Document:
        return cls(digest_of(data), len(data), data)

    def __reduce__(self) -> tuple[type[Document], tuple[bytes, int, bytes | Stored]]:
        """Many go to other processes; by way of their fields one by one they would take twice as long."""
        return Document, (self.digest, self.num_bytes, self.origin)

    @property
    def data(self) -> bytes:
        return self.origin if isinstance(self.origin, bytes) else self.origin.read()


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def num_bytes(documents: Sequence[Document]) -> int:
    return sum(document.num_bytes for document in documents)


def file_of(document: Document) -> str:
    """On disk; nothing for one in memory."""
    return "" if isinstance(document.origin, bytes) else document.origin.place[0]


def reading_order(documents: Sequence[Document]) -> list[int]:
    """Their indices in the order in which they are best read: those on disk file by file."""
    by_file: dict[str, list[tuple[int, int]]] = {}
    for index, document in enumerate(documents):
        file, row = ("", index) if isinstance(document.origin, bytes) else document.origin.place
        by_file.setdefault(file, []).append((row, index))
    return [index for file in sorted(by_file) for _, index in sorted(by_file[file])]
