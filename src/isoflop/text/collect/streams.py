"""Bytes of one source as they come, decompressed, never more of them in memory than a block.

A stream that is cut off, corrupt or swells beyond reason ends with a `Refused` that says at which byte.
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import zstandard

inflate: Any
try:
    from isal import isal_zlib as inflate
except ImportError:
    inflate = zlib

BLOCK_BYTES = 1 << 20
_ZSTD_BLOCK_BYTES = 1 << 12
"""Its decompressor gives all that a block holds at once, up to 30,000 times as much."""
FREE_BYTES, MAX_EXPANSION = 1 << 26, 300
"""From so many bytes on a stream may not be more than so many times as long as what it came from: text is 2 to 20."""
COMPRESSIONS = (".gz", ".zst", ".xz")

Blocks = Iterator[bytes]


class Refused(Exception):
    """A file, a part of an archive or a record that gives no text: why, and where."""

    def __init__(self, reason: str, detail: str = "", *, place: str = "") -> None:
        super().__init__(f"{detail or reason.replace('_', ' ')}{f' at {place}' if place else ''}")
        self.reason, self.detail, self.place = reason, detail, place

    def within(self, name: str) -> Refused:
        """The same of a part of ``name``."""
        return Refused(self.reason, self.detail, place=f"{self.place} of {name}" if self.place else name)


class Allowance:
    """How much may still come out of what was read; guards against archives made to swell."""

    def __init__(self) -> None:
        self._num_out = 0

    def take(self, num_out: int, *, num_in: int, place: str) -> None:
        """Raises `Refused` where ``num_out`` bytes more are too many for the ``num_in`` bytes read so far."""
        self._num_out += num_out
        if self._num_out > max(FREE_BYTES, MAX_EXPANSION * num_in):
            raise Refused("expands_too_much", f"expands more than {MAX_EXPANSION} times", place=place)


def blocks(stream: IO[bytes], size: int = BLOCK_BYTES) -> Blocks:
    """What is left of a stream."""
    while block := stream.read(size):
        yield block


def decompressed(stream: IO[bytes], suffix: str) -> Blocks:
    """Blocks of the text behind ``.gz``, ``.zst`` or ``.xz``, of all members or frames; of anything else as it is."""
    start = _DECOMPRESSORS.get(suffix)
    if start is None:
        yield from blocks(stream)
        return
    num_in, allowance, decompressor = 0, Allowance(), start()
    for block in blocks(stream, _ZSTD_BLOCK_BYTES if suffix == ".zst" else BLOCK_BYTES):
        rest, place = block, f"byte {num_in}"
        num_in += len(block)
        while rest:
            if decompressor.eof:
                if not rest.strip(b"\0"):
                    break  # padding behind the last member, as tapes leave it
                decompressor = start()
            try:
                for part in decompressor.parts(rest):
                    allowance.take(len(part), num_in=num_in, place=place)
                    yield part
            except (zlib.error, inflate.error, lzma.LZMAError, zstandard.ZstdError, EOFError) as error:
                raise Refused("corrupt", f"corrupt {suffix[1:]} ({error})", place=place) from error
            rest = decompressor.unused
    if not decompressor.eof:
        raise Refused("cut_off", f"corrupt {suffix[1:]} (it ends in the middle)", place=f"byte {num_in}")


class BlockReader(io.RawIOBase):
    """Blocks as a file to read from."""

    def __init__(self, parts: Blocks) -> None:
        self._parts, self._rest = parts, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


class _Member:
    """One member or frame of a compressed stream."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def parts(self, data: bytes) -> Blocks:
        """What ``data`` adds; in pieces of a block at most, where the library can be asked for so much."""
        if part := self.inner.decompress(data):
            yield part

    @property
    def eof(self) -> bool:
        return bool(self.inner.eof)

    @property
    def unused(self) -> bytes:
        """What stands behind the end."""
        return bytes(self.inner.unused_data)


class _Gzip(_Member):
    def parts(self, data: bytes) -> Blocks:
        part = self.inner.decompress(data, BLOCK_BYTES)
        while part:
            yield part
            part = self.inner.decompress(self.inner.unconsumed_tail, BLOCK_BYTES)


class _Xz(_Member):
    def parts(self, data: bytes) -> Blocks:
        part = self.inner.decompress(data, BLOCK_BYTES)
        while part:
            yield part
            if self.inner.eof or self.inner.needs_input:
                return
            part = self.inner.decompress(b"", BLOCK_BYTES)


_DECOMPRESSORS: dict[str, Callable[[], _Member]] = {
    ".gz": lambda: _Gzip(inflate.decompressobj(31)),
    ".xz": lambda: _Xz(lzma.LZMADecompressor()),
    ".zst": lambda: _Member(zstandard.ZstdDecompressor().decompressobj()),
}
