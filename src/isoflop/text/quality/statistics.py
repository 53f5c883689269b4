"""What the rules of Gopher, C4 and FineWeb ask of a document, counted in one compiled pass over its bytes.

Counts are those of Python's own string methods on the decoded text (``len``, ``split``, ``splitlines``, ``isalpha``),
so that a rule means here what its authors' code means. What a *word* is changes decisions more than any threshold does
(only 56 % of 600 documents were judged alike by two rules; data.md), so the rule has a name:

- ``whitespace``: what stands between spaces, as Gopher describes it (Rae et al. 2021, arXiv 2112.11446, app. A1.1);
- ``parts``: runs of letters, digits and underscores, and every other character but spaces by itself, much as spaCy
  divides English.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import ALPHA, BREAK, SPACE, SYMBOL, WORD, code_at, compiled, kind_of, kinds, width_of
from isoflop.text.hashing import (
    EMPTY,
    Hashes,
    extended,
    fill_prefixes,
    hash_of,
    power,
    run_at,
    seen_before,
    slot_of,
)
from isoflop.text.texts import Texts

WordRule = Literal["whitespace", "parts"]
Counts = Any
"""A record of ``STATISTICS``, whose fields kernels write by name."""
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's."""
TOP_RUNS = (2, 3, 4)
"""Lengths of word runs of which the most frequent is counted,"""
REPEATED_RUNS = (5, 6, 7, 8, 9, 10)
"""and of which all repetitions are."""
SHORT_LINE = 30
"""Characters of a line that FineWeb calls short (Penedo et al. 2024, arXiv 2406.17557, sec. 3.6)."""
STATISTICS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "num_chars",
            "num_words",
            "num_worded",
            "worded_chars",
            "num_alphabetic",
            "num_stop_words",
            "num_hashes",
            "num_ellipses",
            "num_lines",
            "num_bulleted",
            "num_trailing_off",
            "num_newlines",
            "num_punctuated",
            "num_short",
            "num_solid_lines",
            "num_repeated_lines",
            "repeated_line_chars",
            "repeated_nonblank_chars",
            "num_paragraphs",
            "num_repeated_paragraphs",
            "repeated_paragraph_chars",
            *(f"top_{n}" for n in TOP_RUNS),
            *(f"repeated_{n}" for n in REPEATED_RUNS),
        )
    ]
)
"""Of one document. ``worded`` words hold more than symbols; ``lines`` end as for ``splitlines``; between ``newlines``
(line feeds) stand one line more, of which some are ``punctuated`` at the end or ``short``; ``solid`` lines and
paragraphs stand between runs of one and of two line feeds; ``top`` and ``repeated`` are characters of word runs."""

_PARTS = 1
_NEWLINE, _RETURN, _HASH, _DOT, _ELLIPSIS, _BULLET, _DASH = (
    ord("\n"),
    ord("\r"),
    ord("#"),
    ord("."),
    0x2026,
    0x2022,
    ord("-"),
)
_STOPS = tuple(map(ord, ".'\"!?"))
_LONGEST_STOP_WORD = max(map(len, STOP_WORDS))


def statistics(texts: Texts, rule: WordRule = "whitespace") -> NDArray[np.void]:
    """[documents] of ``STATISTICS``. Raises ``ValueError`` for an unknown rule."""
    if rule not in get_args(WordRule):
        raise ValueError(f"unknown word rule {rule!r}: use one of {', '.join(get_args(WordRule))}")
    found = np.zeros(len(texts), dtype=STATISTICS)
    stops = np.array([hash_of(word) for word in STOP_WORDS], dtype=np.uint64)
    _all(texts.data, texts.offsets, int(rule == "parts"), kinds(), stops, found)
    return found


@compiled
def _all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rule: int,
    table: NDArray[np.uint8],
    stops: Hashes,
    found: NDArray[np.void],
) -> None:
    longest = 0
    for d in range(len(found)):
        longest = max(longest, offsets[d + 1] - offsets[d])
    room = longest + 2 if rule == _PARTS else longest // 2 + 2
    hashes, prefixes = np.empty(room, dtype=np.uint64), np.empty(room + 1, dtype=np.uint64)
    lengths, slots = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    repeated = np.empty(room, dtype=np.bool_)
    size = 1024
    while size < 2 * room:
        size *= 2
    keys, stamps = np.empty(size, dtype=np.uint64), np.zeros(size, dtype=np.int64)
    counts, firsts = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    stamp = 0
    for d in range(len(found)):
        one = found[d]
        start, end = offsets[d], offsets[d + 1]
        num_words = _words(data, start, end, rule, table, stops, hashes, lengths, one)
        mask, needed = 1023, 2 * max(num_words, _count(data, start, end) + 2)
        while mask < min(needed, size - 1):
            mask = 2 * mask + 1
        _lines(data, start, end, table, keys, stamps, mask, stamp + 1, one)
        _paragraphs(data, start, end, table, keys, stamps, mask, stamp + 2, one)
        fill_prefixes(hashes, num_words, prefixes)
        stamp += 2
        repeated[:num_words] = True
        one.top_2 = _top(
            prefixes, lengths, num_words, 2, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 1
        )
        one.top_3 = _top(
            prefixes, lengths, num_words, 3, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 2
        )
        one.top_4 = _top(
            prefixes, lengths, num_words, 4, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 3
        )
        one.repeated_5 = _repeated(prefixes, lengths, num_words, 5, repeated, keys, stamps, mask, stamp + 4)
        one.repeated_6 = _repeated(prefixes, lengths, num_words, 6, repeated, keys, stamps, mask, stamp + 5)
        one.repeated_7 = _repeated(prefixes, lengths, num_words, 7, repeated, keys, stamps, mask, stamp + 6)
        one.repeated_8 = _repeated(prefixes, lengths, num_words, 8, repeated, keys, stamps, mask, stamp + 7)
        one.repeated_9 = _repeated(prefixes, lengths, num_words, 9, repeated, keys, stamps, mask, stamp + 8)
        one.repeated_10 = _repeated(prefixes, lengths, num_words, 10, repeated, keys, stamps, mask, stamp + 9)
        stamp += 9


@compiled
def _count(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Line feeds."""
    count = 0
    for i in range(start, end):
        count += data[i] == _NEWLINE
    return count


@compiled
def _words(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    rule: int,
    table: NDArray[np.uint8],
    stops: Hashes,
    hashes: Hashes,
    lengths: NDArray[np.int64],
    one: Counts,
) -> int:
    """Fills the words' hashes and characters and what is counted of words; returns how many there are."""
    num_words, word, chars, seen, dots = 0, EMPTY, 0, 0, 0
    i = start
    while i <= end:
        code = code_at(data, i) if i < end else _NEWLINE  # a last space ends the last word
        kind = kind_of(table, code)
        alone = rule == _PARTS and not kind & (SPACE | WORD)
        if (kind & SPACE or alone) and chars:
            hashes[num_words], lengths[num_words] = word, chars
            num_words += 1
            _tell_word(word, chars, seen, stops, one)
            word, chars, seen = EMPTY, 0, 0
        if alone:
            hashes[num_words], lengths[num_words] = extended(EMPTY, code), 1
            num_words += 1
            _tell_word(extended(EMPTY, code), 1, kind if kind & SYMBOL else kind | WORD, stops, one)
        elif not kind & SPACE:
            word, chars = extended(word, code), chars + 1
            seen |= kind & ALPHA
            seen |= 0 if kind & SYMBOL else WORD
        dots = dots + 1 if code == _DOT else 0
        one.num_ellipses += (dots > 0 and dots % 3 == 0) or code == _ELLIPSIS
        one.num_hashes += code == _HASH
        if i < end:
            one.num_chars += 1
        i += width_of(code)
    one.num_words = num_words
    return num_words


@compiled
def _tell_word(word: np.uint64, chars: int, seen: int, stops: Hashes, one: Counts) -> None:
    if seen & WORD:
        one.num_worded += 1
        one.worded_chars += chars
    if seen & ALPHA:
        one.num_alphabetic += 1
    if chars <= _LONGEST_STOP_WORD:
        for stop in stops:
            one.num_stop_words += word == stop


@compiled
def _lines(
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
        code = code_at(data, i)
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
        i += width_of(code)
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
def _paragraphs(
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
        code = code_at(data, i)
        i += width_of(code)
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
        code = code_at(data, i)
        if not kind_of(table, code) & SPACE:
            first, last = min(first, i), i + width_of(code)
        i += width_of(code)
    return min(first, last), last


@compiled
def _tell_paragraph(
    paragraph: np.uint64, chars: int, keys: Hashes, stamps: NDArray[np.int64], mask: int, stamp: int, one: Counts
) -> None:
    one.num_paragraphs += 1
    if seen_before(keys, stamps, mask, stamp, paragraph):
        one.num_repeated_paragraphs += 1
        one.repeated_paragraph_chars += chars


@compiled
def _top(
    prefixes: Hashes,
    lengths: NDArray[np.int64],
    num_words: int,
    n: int,
    repeated: NDArray[np.bool_],
    slots: NDArray[np.int64],
    keys: Hashes,
    stamps: NDArray[np.int64],
    counts: NDArray[np.int64],
    firsts: NDArray[np.int64],
    mask: int,
    stamp: int,
) -> int:
    """Characters of the most frequent run of n words (the first of several), with the spaces in it, times its count.

    ``repeated`` says where a shorter run stands that stands elsewhere too: only there can one of n words. It is left
    saying the same of runs of n words.
    """
    total = max(num_words - n + 1, 0)
    best, first, factor = min(total, 1), 0, power(n)
    for i in range(total):
        slots[i] = -1
        if not repeated[i]:
            continue
        key = run_at(prefixes, i, n, factor)
        slot = slot_of(keys, stamps, mask, stamp, key)
        if stamps[slot] != stamp:
            stamps[slot], keys[slot], counts[slot], firsts[slot] = stamp, key, 0, i
        counts[slot] += 1
        slots[i] = slot
        if counts[slot] > best or (counts[slot] == best and firsts[slot] < first):
            best, first = counts[slot], firsts[slot]
    for i in range(num_words):
        repeated[i] = i < total and slots[i] >= 0 and counts[slots[i]] > 1
    chars = n - 1
    for i in range(first, min(first + n, num_words)):
        chars += lengths[i]
    return best * chars


@compiled
def _repeated(
    prefixes: Hashes,
    lengths: NDArray[np.int64],
    num_words: int,
    n: int,
    repeated: NDArray[np.bool_],
    keys: Hashes,
    stamps: NDArray[np.int64],
    mask: int,
    stamp: int,
) -> int:
    """Characters of runs of n words that stood there before; none of them counts twice."""
    chars, i, factor = 0, 0, power(n)
    while i < num_words - n + 1:
        if repeated[i] and seen_before(keys, stamps, mask, stamp, run_at(prefixes, i, n, factor)):
            for j in range(i, i + n):
                chars += lengths[j]
            i += n
        else:
            i += 1
    return chars
