"""What the rules of Gopher, C4 and FineWeb ask of a document, counted in one compiled pass over its bytes.

Counts are those of Python's own string methods on the decoded text (``len``, ``split``, ``splitlines``, ``isalpha``),
so that a rule means here what its authors' code means. What a *word* is changes decisions more than any threshold does
(only 56 % of 600 documents were judged alike by two rules; data.md), so the rule has a name:

- ``whitespace``: what stands between spaces, as Gopher describes it (Rae et al. 2021, arXiv 2112.11446, app. A1.1);
- ``parts``: runs of letters, digits and underscores, and every other character but spaces by itself, much as spaCy
  divides English.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import ALPHA, SPACE, SYMBOL, WORD, character_at, compiled, kind_of, kinds
from isoflop.text.hashing import EMPTY, Hashes, extended, fill_prefixes, hash_of
from isoflop.text.quality.lines import Counts, count_lines, count_paragraphs
from isoflop.text.quality.runs import repeated_runs, top_run
from isoflop.text.texts import Texts

WordRule = Literal["whitespace", "parts"]
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's."""
TOP_RUNS = (2, 3, 4)
"""Lengths of word runs of which the most frequent is counted,"""
REPEATED_RUNS = (5, 6, 7, 8, 9, 10)
"""and of which all repetitions are."""
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
_NEWLINE, _HASH, _DOT, _ELLIPSIS = ord("\n"), ord("#"), ord("."), 0x2026
_LONGEST_STOP_WORD = max(map(len, STOP_WORDS))


def statistics(texts: Texts, rule: WordRule = "whitespace") -> NDArray[np.void]:
    """[documents] of ``STATISTICS``. Raises ``ValueError`` for an unknown rule."""
    if rule not in get_args(WordRule):
        raise ValueError(f"unknown word rule {rule!r}: use one of {', '.join(get_args(WordRule))}")
    found = np.zeros(len(texts), dtype=STATISTICS)
    stops = np.array([hash_of(word) for word in STOP_WORDS], dtype=np.uint64)
    _all(texts.data, texts.offsets, int(rule == "parts"), kinds(), stops, texts.longest, found)
    return found


@compiled
def _all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rule: int,
    table: NDArray[np.uint8],
    stops: Hashes,
    longest: int,
    found: NDArray[np.void],
) -> None:
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
        count_lines(data, start, end, table, keys, stamps, mask, stamp + 1, one)
        count_paragraphs(data, start, end, table, keys, stamps, mask, stamp + 2, one)
        fill_prefixes(hashes, num_words, prefixes)
        stamp += 2
        repeated[:num_words] = True
        one.top_2 = top_run(
            prefixes, lengths, num_words, 2, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 1
        )
        one.top_3 = top_run(
            prefixes, lengths, num_words, 3, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 2
        )
        one.top_4 = top_run(
            prefixes, lengths, num_words, 4, repeated, slots, keys, stamps, counts, firsts, mask, stamp + 3
        )
        one.repeated_5 = repeated_runs(prefixes, lengths, num_words, 5, repeated, keys, stamps, mask, stamp + 4)
        one.repeated_6 = repeated_runs(prefixes, lengths, num_words, 6, repeated, keys, stamps, mask, stamp + 5)
        one.repeated_7 = repeated_runs(prefixes, lengths, num_words, 7, repeated, keys, stamps, mask, stamp + 6)
        one.repeated_8 = repeated_runs(prefixes, lengths, num_words, 8, repeated, keys, stamps, mask, stamp + 7)
        one.repeated_9 = repeated_runs(prefixes, lengths, num_words, 9, repeated, keys, stamps, mask, stamp + 8)
        one.repeated_10 = repeated_runs(prefixes, lengths, num_words, 10, repeated, keys, stamps, mask, stamp + 9)
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
        code, following = character_at(data, i) if i < end else (_NEWLINE, end + 1)  # a last space ends the last word
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
        i = following
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
