"""What is counted of a document's lines and paragraphs (`statistics`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import BREAK, SPACE, character_at, compiled, kind_of
from isoflop.text.hashing import EMPTY, Hashes, extended, seen_before

Counts = Any
"""A record of `statistics.STATISTICS`, whose fields kernels write by name."""
SHORT_LINE = 30
"""Characters of a line that FineWeb calls short (Penedo et al. 2024, arXiv 2406.17557, sec. 3.6)."""
_NEWLINE, _RETURN, _DOT, _ELLIPSIS, _BULLET, _DASH = ord("\n"), ord("\r"), ord("."), 0x2026, 0x2022, ord("-")
_STOPS = tuple(map(ord, ".'\"!?"))


@compiled
def count_lines(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    table: NDArray[np.uint8],
    keys: Hashes,
    stamps: NDArray[np.int64],
    mask: int,
    stamp: int,
    one: Counts,
) -> None:
    """Lines by ``splitlines`` with their first and last marks, and lines between line feeds with their repetitions."""
    first, dots, last, chars, before = 0, 0, 0, 0, 0
    line, line_chars, blank, ending, gap = EMPTY, 0, True, 0, 0
    i = start
    while i < end:
        code, i = character_at(data, i)
        kind = kind_of(table, code)
        if kind & BREAK:
            if not (code == _NEWLINE and before == _RETURN):
                _tell_line(first, last, dots, one)
            first, dots, last, chars = 0, 0, 0, 0
        else:
            chars += 1
            if not kind & SPACE:
                first, last = first if first else code, code
                dots = (dots if before == _DOT else 0) + 1 if code == _DOT else 0
        if code == _NEWLINE:
            _tell_fed(line, line_chars, blank, ending, gap == 0, keys, stamps, mask, stamp, one)
            one.num_newlines += 1
            line, line_chars, blank, ending, gap = EMPTY, 0, True, 0, gap + 1
        else:
            line, line_chars, ending, gap = extended(line, code), line_chars + 1, code, 0
            blank = blank and kind & SPACE != 0
        before = code
    if chars:
        _tell_line(first, last, dots, one)
    _tell_fed(line, line_chars, blank, ending, True, keys, stamps, mask, stamp, one)


@compiled
def _tell_line(first: int, last: int, dots: int, one: Counts) -> None:
    one.num_lines += 1
    one.num_bulleted += first in (_BULLET, _DASH)
    one.num_trailing_off += last == _ELLIPSIS or (last == _DOT and dots >= 3)


@compiled
def _tell_fed(
    line: np.uint64,
    chars: int,
    blank: bool,
    ending: int,
    solid: bool,
    keys: Hashes,
    stamps: NDArray[np.int64],
    mask: int,
    stamp: int,
    one: Counts,
) -> None:
    one.num_punctuated += ending in _STOPS
    one.num_short += chars <= SHORT_LINE
    if not solid:
        return
    one.num_solid_lines += 1
    if seen_before(keys, stamps, mask, stamp, line):
        one.num_repeated_lines += 1
        one.repeated_line_chars += chars
        if not blank:
            one.repeated_nonblank_chars += chars


@compiled
def count_paragraphs(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    table: NDArray[np.uint8],
    keys: Hashes,
    stamps: NDArray[np.int64],
    mask: int,
    stamp: int,
    one: Counts,
) -> None:
    """Between runs of two line feeds and more, without the space around the whole document."""
    start, end = _stripped(data, start, end, table)
    paragraph, chars, gap = EMPTY, 0, 0
    i = start
    while i < end:
        code, i = character_at(data, i)
        if code == _NEWLINE:
            gap += 1
            continue
        if gap >= 2:
            _tell_paragraph(paragraph, chars, keys, stamps, mask, stamp, one)
            paragraph, chars = EMPTY, 0
        elif gap == 1:
            paragraph, chars = extended(paragraph, _NEWLINE), chars + 1
        paragraph, chars, gap = extended(paragraph, code), chars + 1, 0
    _tell_paragraph(paragraph, chars, keys, stamps, mask, stamp, one)


@compiled
def _stripped(data: NDArray[np.uint8], start: int, end: int, table: NDArray[np.uint8]) -> tuple[int, int]:
    """Where the document's first character that is no space begins, and its last ends."""
    first, last = end, start
    i = start
    while i < end:
        code, following = character_at(data, i)
        if not kind_of(table, code) & SPACE:
            first, last = min(first, i), following
        i = following
    return min(first, last), last


@compiled
def _tell_paragraph(
    paragraph: np.uint64, chars: int, keys: Hashes, stamps: NDArray[np.int64], mask: int, stamp: int, one: Counts
) -> None:
    one.num_paragraphs += 1
    if seen_before(keys, stamps, mask, stamp, paragraph):
        one.num_repeated_paragraphs += 1
        one.repeated_paragraph_chars += chars
