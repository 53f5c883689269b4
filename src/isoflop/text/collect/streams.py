"""Bytes of one source as they come, decompressed, never more of them in memory than a block.

A stream that is cut off, corrupt or swells beyond reason ends with a `Refused` that says at which byte.
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

import pyarrow as pa

inflate: Any
try:
    from isal import isal_zlib as inflate
except ImportError:
    inflate = zlib

BLOCK_BYTES = 1 << 18
"""Larger ones leave the cache before they are parsed."""
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
    if suffix not in COMPRESSIONS:
        yield from blocks(stream)
        return
    counted, allowance = _Counted(stream), Allowance()
    try:
        for part in _frames(counted) if suffix == ".zst" else _members(counted, suffix):
            allowance.take(len(part), num_in=counted.num_bytes, place=f"byte {counted.start}")
            yield part
    except (zlib.error, inflate.error, lzma.LZMAError, _Damaged, EOFError) as error:
        raise Refused("corrupt", f"corrupt {suffix[1:]} ({error})", place=f"byte {counted.start}") from error
    except _CutOff:
        place = f"byte {counted.num_bytes}"
        raise Refused("cut_off", f"corrupt {suffix[1:]} (it ends in the middle)", place=place) from None


class _Damaged(Exception):
    """What Arrow says of a stream that is not zstd."""


class _CutOff(Exception):
    """A stream ends within a member or frame."""


class _Counted(io.RawIOBase):
    """A stream that knows how much of it was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.num_bytes = 0
        self.start = 0
        """Where the last read began."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.start, self.num_bytes = self.num_bytes, self.num_bytes + len(data)
        return data


def _frames(stream: _Counted) -> Blocks:
    """Of zstd, which Arrow reads in bounded pieces however much its input swells."""
    try:
        yield from blocks(pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    except OSError as error:
        if error.errno is not None:
            raise  # of the disk
        if "Truncated" in str(error):
            raise _CutOff from error
        raise _Damaged(str(error)) from error
    if not stream.num_bytes:
        raise _CutOff


def _members(stream: _Counted, suffix: str) -> Blocks:
    """Of gzip and xz; padding behind the last member is left out, as tapes leave it."""
    start: Callable[[], Any] = lzma.LZMADecompressor if suffix == ".xz" else partial(inflate.decompressobj, 31)
    parts = _xz_parts if suffix == ".xz" else _gzip_parts
    inner = start()
    for block in blocks(stream):  # type: ignore[arg-type]
        rest = block
        while rest:
            if inner.eof:
                if not rest.strip(b"\0"):
                    break
                inner = start()
            yield from parts(inner, rest)
            rest = inner.unused_data
    if not inner.eof:
        raise _CutOff


def _gzip_parts(inner: Any, data: bytes) -> Blocks:
    """What ``data`` adds, a block at most at a time."""
    part = inner.decompress(data, BLOCK_BYTES)
    while part:
        yield part
        if inner.eof:
            return  # zlib keeps what stands behind the end as unconsumed too
        part = inner.decompress(inner.unconsumed_tail, BLOCK_BYTES)


def _xz_parts(inner: Any, data: bytes) -> Blocks:
    part = inner.decompress(data, BLOCK_BYTES)
    while part:
        yield part
        if inner.eof or inner.needs_input:
            return
        part = inner.decompress(b"", BLOCK_BYTES)


def lines_within(stream: IO[bytes], start: int, end: int) -> tuple[int, Blocks]:
    """Where the first line that begins in [start, end) does, and blocks of all such lines, whole."""
    first = _begin_of_line(stream, start)
    stream.seek(first)
    return first, _whole_lines(stream, end - first)


def _begin_of_line(stream: IO[bytes], start: int) -> int:
    if start == 0:
        return 0
    position = start - 1  # its line feed, perhaps
    stream.seek(position)
    for block in blocks(stream):
        place = block.find(b"\n")
        if place >= 0:
            return position + place + 1
        position += len(block)
    return position


def _whole_lines(stream: IO[bytes], num_bytes: int) -> Blocks:
    last = b"\n"
    while num_bytes > 0 and (last := stream.read(min(num_bytes, BLOCK_BYTES))):
        num_bytes -= len(last)
        yield last
    if last.endswith(b"\n") or not last:
        return
    for block in blocks(stream):
        head, feed, _ = block.partition(b"\n")
        yield head + feed
        if feed:
            return


class BlockReader(io.RawIOBase):
    """Blocks as a file to read from."""

    def __init__(self, parts: Blocks) -> None:
        self._parts, self._rest = parts, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
