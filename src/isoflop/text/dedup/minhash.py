"""Signatures by which near-duplicate documents find each other: the minima of many hashes over a document's shingles.

A shingle is a run of five words of the text without case, accents, punctuation and the values of numbers
(`characters.folded`). Two documents agree at a place of their signatures with the probability of their Jaccard
similarity (Broder 1997); hash k of a shingle is a_k x + b_k modulo 2^32, with x the high half of its well-mixed 64 bits
and a_k odd.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import PLANE, REMOVED, character_at, compiled, folded
from isoflop.text.hashing import EMPTY, Hashes, extended, fill_prefixes, mixed, power, run_at
from isoflop.text.texts import Texts

SHINGLE_WORDS = 5
NUM_HASHES = 112
NO_SHINGLES = np.uint32(0xFFFFFFFF)
"""Every minimum of a document without a word: it is nobody's duplicate."""
_SPACE, _DIGIT = ord(" "), ord("0")

Signatures = NDArray[np.uint32]


def signatures(texts: Texts, *, seed: int = 1, num_hashes: int = NUM_HASHES) -> Signatures:
    """[documents, num_hashes]."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 2**32, num_hashes, dtype=np.uint32) | np.uint32(1)
    terms = rng.integers(0, 2**32, num_hashes, dtype=np.uint32)
    found = np.full((len(texts), num_hashes), NO_SHINGLES, dtype=np.uint32)
    _sign_all(texts.data, texts.offsets, folded(), factors, terms, texts.longest, found)
    return found


def shingles(texts: Texts, index: int, num_words: int = SHINGLE_WORDS) -> Hashes:
    """The distinct shingles of one document, sorted: its runs of so many words, or of all where there are fewer."""
    start, end = texts.offsets[index], texts.offsets[index + 1]
    room = int(end - start) // 2 + 2
    words, prefixes = np.empty(room, dtype=np.uint64), np.empty(room + 1, dtype=np.uint64)
    count = fold_words(texts.data, start, end, folded(), words)
    fill_prefixes(words, count, prefixes)
    found = np.empty(room, dtype=np.uint64)
    return np.unique(found[: _shingle_all(prefixes, count, num_words, found)])


def wholes(texts: Texts) -> tuple[Hashes, NDArray[np.int64]]:
    """[documents] each: the one shingle that all words of a document are, and how many they are."""
    found, counts = np.zeros(len(texts), dtype=np.uint64), np.zeros(len(texts), dtype=np.int64)
    _whole_all(texts.data, texts.offsets, folded(), texts.longest, found, counts)
    return found, counts


@compiled
def _sign_all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: NDArray[np.uint16],
    factors: NDArray[np.uint32],
    terms: NDArray[np.uint32],
    longest: int,
    found: Signatures,
) -> None:
    room = longest // 2 + 2
    words, prefixes = np.empty(room, dtype=np.uint64), np.empty(room + 1, dtype=np.uint64)
    runs, halves = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint32)
    for d in range(len(found)):
        num_words = fold_words(data, offsets[d], offsets[d + 1], table, words)
        fill_prefixes(words, num_words, prefixes)
        count = _shingle_all(prefixes, num_words, SHINGLE_WORDS, runs)
        for i in range(count):
            halves[i] = np.uint32(runs[i] >> np.uint64(32))
        _minima(halves[:count], factors, terms, found[d])


@compiled
def _whole_all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: NDArray[np.uint16],
    longest: int,
    found: Hashes,
    counts: NDArray[np.int64],
) -> None:
    room = longest // 2 + 2
    words, prefixes = np.empty(room, dtype=np.uint64), np.empty(room + 1, dtype=np.uint64)
    for d in range(len(found)):
        counts[d] = fold_words(data, offsets[d], offsets[d + 1], table, words)
        fill_prefixes(words, counts[d], prefixes)
        _shingle_all(prefixes, counts[d], counts[d], found[d : d + 1])


@compiled
def fold_words(data: NDArray[np.uint8], start: int, end: int, table: NDArray[np.uint16], words: Hashes) -> int:
    """Fills the hashes of the folded words; returns how many there are. A run of digits is one digit."""
    num_words, word, digit = 0, EMPTY, False
    i = start
    while i < end:
        code, i = character_at(data, i)
        code = np.int64(table[code]) if code < PLANE else code
        if code == _SPACE:
            if word != EMPTY:
                words[num_words] = word
                num_words += 1
            word, digit = EMPTY, False
        elif code != REMOVED and not (digit and code == _DIGIT):
            word, digit = extended(word, code), code == _DIGIT
    if word != EMPTY:
        words[num_words] = word
        num_words += 1
    return num_words


@compiled
def _shingle_all(prefixes: Hashes, num_words: int, length: int, found: Hashes) -> int:
    """Fills the shingles' hashes and returns how many there are; fewer words than a shingle has are one."""
    n = min(num_words, length)
    if n == 0:
        return 0
    factor = power(n)
    count = num_words - n + 1
    for i in range(count):
        found[i] = mixed(run_at(prefixes, i, n, factor))
    return count


@compiled
def _minima(
    halves: NDArray[np.uint32], factors: NDArray[np.uint32], terms: NDArray[np.uint32], minima: NDArray[np.uint32]
) -> None:
    """One hash after the other: the least of it stays in a register, and all come at once."""
    for k in range(len(minima)):
        factor, term, least = factors[k], terms[k], minima[k]
        for i in range(len(halves)):
            least = min(least, np.uint32(factor * halves[i] + term))
        minima[k] = least
