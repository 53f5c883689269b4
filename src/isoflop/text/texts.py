"""Many documents in one buffer, as Arrow keeps them: compiled kernels read it without a copy and without Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Texts:
    """Documents of valid UTF-8, one behind the other."""

    data: NDArray[np.uint8]
    """[num_bytes]"""
    offsets: NDArray[np.int64]
    """[num_documents + 1]: where each begins, and where the last ends."""

    @staticmethod
    def of(documents: Sequence[bytes]) -> Texts:
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        return Texts(np.frombuffer(b"".join(documents), dtype=np.uint8), np.concatenate([[0], np.cumsum(lengths)]))

    @staticmethod
    def of_arrow(array: pa.StringArray | pa.LargeStringArray) -> Texts:
        """A column of Arrow strings; its bytes are shared, not copied. Raises ``ValueError`` for a missing text."""
        if array.null_count:
            raise ValueError("a column with missing texts: drop them first")
        large = array.cast(pa.large_string())
        _, offsets, data = large.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[large.offset : large.offset + len(large) + 1]
        return Texts(np.frombuffer(data or b"", dtype=np.uint8), bounds)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        return (self[index] for index in range(len(self)))

    @property
    def num_bytes(self) -> int:
        return int(self.offsets[-1] - self.offsets[0])

    @property
    def longest(self) -> int:
        """Bytes of the longest document."""
        return int(np.diff(self.offsets).max(initial=0))


def strings(values: Sequence[bytes], kind: pa.DataType | None = None) -> pa.Array:
    """An Arrow array of UTF-8 or bytes, by default large strings.

    `pa.array` would look at every value, and imports pandas where it is installed.
    """
    kind = kind or pa.large_string()
    width = np.int64 if kind in (pa.large_string(), pa.large_binary()) else np.int32
    ends = np.cumsum([0, *map(len, values)], dtype=width)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])


def booleans(mask: NDArray[np.bool_]) -> pa.Array:
    """An Arrow array, one bit a value."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])
