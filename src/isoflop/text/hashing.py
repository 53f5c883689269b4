"""Hashes of words and of runs of words, a set of them, and a table that numbers them, for compiled kernels.

Words are hashed a character at a time (FNV-1a: Fowler, Noll & Vo), runs of n words by a polynomial over their hashes
(Karp & Rabin 1987) modulo 2^64, so that each costs one multiplication whatever n is. Two different runs of one document
meet with a probability of some 1e-13 a document of a million words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled, lean

EMPTY = np.uint64(0xCBF29CE484222325)
_FNV = np.uint64(0x100000001B3)
BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Hashes = NDArray[np.uint64]
Small = NDArray[np.int32]
FREE = np.int32(-1)
"""A slot without a key."""


@compiled
def extended(word: np.uint64, code: int) -> np.uint64:
    """The hash of a word with one more character."""
    return (word ^ np.uint64(code)) * _FNV


@compiled
def mixed(value: np.uint64) -> np.uint64:
    """All bits of ``value`` spread over all others (the finaliser of SplitMix64: Steele, Lea & Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@compiled
def fill_prefixes(words: Hashes, num_words: int, prefixes: Hashes) -> None:
    """``prefixes`` [num_words + 1]: the polynomial over the words before each place."""
    prefixes[0] = np.uint64(0)
    for i in range(num_words):
        prefixes[i + 1] = prefixes[i] * BASE + mixed(words[i])


@compiled
def power(n: int) -> np.uint64:
    """BASE^n."""
    result = np.uint64(1)
    for _ in range(n):
        result *= BASE
    return result


@compiled
def run_at(prefixes: Hashes, i: int, n: int, factor: np.uint64) -> np.uint64:
    """The hash of the n words from the i-th on; ``factor`` is ``power(n)``."""
    return prefixes[i + n] - prefixes[i] * factor


@compiled
def slot_of(keys: Hashes, stamps: NDArray[np.int64], mask: int, stamp: int, key: np.uint64) -> int:
    """Where ``key`` stands, or is to stand, in an open-addressed table; a slot of another stamp is empty."""
    slot: int = np.int64(mixed(key) & np.uint64(mask))  # type: ignore[assignment]
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def seen_before(keys: Hashes, stamps: NDArray[np.int64], mask: int, stamp: int, key: np.uint64) -> bool:
    """Whether ``key`` was in the set; it is now."""
    slot = slot_of(keys, stamps, mask, stamp, key)
    if stamps[slot] == stamp:
        return True
    stamps[slot], keys[slot] = stamp, key
    return False


@compiled
def table_of(room: int) -> tuple[Small, Hashes]:
    """For up to ``room`` keys, a power of two: slots for their numbers, and the keys by number."""
    return np.full(2 * room, FREE, np.int32), np.empty(room, np.uint64)


@lean
def number_of(slots: Small, keys: Hashes, count: int, key: np.uint64) -> int:
    """Of a key; one that the table has not gets the number ``count``."""
    mask = len(slots) - 1
    slot = np.int64(mixed(key) & np.uint64(mask))
    while slots[slot] != FREE and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    if slots[slot] == FREE:
        slots[slot], keys[count] = count, key
    return int(slots[slot])


@compiled
def wider(keys: Hashes, count: int) -> tuple[Small, Hashes]:
    """The table with room for twice as many."""
    slots, more = table_of(2 * len(keys))
    for number in range(count):
        number_of(slots, more, number, keys[number])
    return slots, more


@compiled
def longer(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """With room for twice as many."""
    more = np.empty(2 * len(values), np.int64)
    for i in range(len(values)):  # a slice compiles for seconds
        more[i] = values[i]
    return more


def hash_of(word: str) -> np.uint64:
    """The hash of a word, outside of kernels."""
    value = int(EMPTY)
    for character in word:
        value = (value ^ ord(character)) * int(_FNV) % 2**64
    return np.uint64(value)
