"""The words of a text as GPT-2's rule splits it (Radford et al. 2019), found by a walk over its bytes and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import character_at, compiled, lean
from isoflop.text.hashing import EMPTY, extended, longer, number_of, table_of, wider
from isoflop.text.texts import Texts

LETTER, NUMBER, SPACE, OTHER = 0, 1, 2, 3
_KNOWN = 0x20000
"""Characters whose class is looked up; beyond are rare ideographs, which are letters, and what nobody writes."""
_IDEOGRAPHS_END = 0x323B0
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_BLANK, _APOSTROPHE = ord(" "), ord("'")
_S, _T, _M, _D, _R, _E, _V, _L = map(ord, "stmdrevl")
ROOM = 1 << 17
"""Keys of a new table of words, or of pairs of bytes."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """Words, each once, and how often they stand in a text."""

    texts: Texts
    counts: Numbers
    """[words]"""


def count_words(texts: Texts) -> Words:
    """The words of a text in the order in which they first stand there."""
    return _counted(texts, np.ones(len(texts), dtype=np.int64))


def joined(parts: Sequence[Words]) -> Words:
    """The words of several texts together: a word on its own is one word."""
    sizes = [np.diff(part.texts.offsets) for part in parts]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([*sizes, np.zeros(0, dtype=np.int64)]))])
    data = np.concatenate([*(part.texts.data for part in parts), np.zeros(0, dtype=np.uint8)])
    return _counted(Texts(data, offsets), np.concatenate([*(part.counts for part in parts), np.zeros(0, np.int64)]))


def _counted(texts: Texts, weights: Numbers) -> Words:
    data, offsets, counts = _count(texts.data, texts.offsets, weights, classes())
    return Words(Texts(data, offsets), counts)


@cache
def classes() -> NDArray[np.uint8]:
    """[_KNOWN]: the class of every code point, by the interpreter's Unicode database."""
    major = np.array([category(chr(code))[0] for code in range(_KNOWN)])
    found = np.full(_KNOWN, OTHER, dtype=np.uint8)
    found[major == "L"] = LETTER
    found[major == "N"] = NUMBER
    found[[ord(space) for space in _SPACES]] = SPACE
    return found


@compiled
def _class_of(table: NDArray[np.uint8], code: int) -> int:
    if code < _KNOWN:
        return np.int64(table[code])  # type: ignore[return-value]
    return LETTER if code < _IDEOGRAPHS_END else OTHER


@lean
def word_end(data: NDArray[np.uint8], start: int, end: int, table: NDArray[np.uint8]) -> int:
    """Where the word ends that begins at byte ``start``; the text ends at ``end``.

    's|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?[^sLN]+|s+(?!S)|s+ with s, S, L, N for spaces, others, letters, numbers.
    """
    first = data[start]
    if first == _APOSTROPHE:
        second = data[start + 1] if start + 1 < end else 0
        third = data[start + 2] if start + 2 < end else 0
        if second in (_S, _T, _M, _D):
            return start + 2
        if (third == _E and second in (_R, _V)) or (second == _L and third == _L):
            return start + 3
    code, i = character_at(data, start)
    kind = _class_of(table, code)
    if first == _BLANK and i < end:
        code, after = character_at(data, i)
        if _class_of(table, code) != SPACE:
            kind, i = _class_of(table, code), after
    last = start
    while i < end:
        code, after = character_at(data, i)
        if _class_of(table, code) != kind:
            break
        last, i = i, after
    return last if kind == SPACE and start < last and i < end else i  # the next word takes the last of many spaces


@compiled
def _count(
    data: NDArray[np.uint8], offsets: Numbers, weights: Numbers, table: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Numbers, Numbers]:
    """Each word of a text counts as often as the text's weight says."""
    slots, keys = table_of(ROOM)
    starts, lengths, counts = np.empty(ROOM, np.int64), np.empty(ROOM, np.int64), np.empty(ROOM, np.int64)
    num_words = 0
    for d in range(len(offsets) - 1):
        i = offsets[d]
        while i < offsets[d + 1]:
            after = word_end(data, i, offsets[d + 1], table)
            key = EMPTY
            for k in range(i, after):
                key = extended(key, np.int64(data[k]))
            word = number_of(slots, keys, num_words, key)
            if word == num_words:
                starts[word], lengths[word], counts[word] = i, after - i, 0
                num_words += 1
                if num_words == len(keys):
                    slots, keys = wider(keys, num_words)
                    starts, lengths, counts = longer(starts), longer(lengths), longer(counts)
            counts[word] += weights[d]
            i = after
    words, bounds = _gathered(data, starts[:num_words], lengths[:num_words])
    return words, bounds, counts[:num_words].copy()


@compiled
def _gathered(data: NDArray[np.uint8], starts: Numbers, lengths: Numbers) -> tuple[NDArray[np.uint8], Numbers]:
    """Pieces of a text one behind the other, and where each begins."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    offsets[1:] = np.cumsum(lengths)
    found = np.empty(offsets[-1], np.uint8)
    for word in range(len(starts)):
        found[offsets[word] : offsets[word + 1]] = data[starts[word] : starts[word] + lengths[word]]
    return found, offsets
