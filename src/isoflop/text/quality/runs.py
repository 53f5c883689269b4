"""What is counted of runs of words that stand in a document more than once (`statistics`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled
from isoflop.text.hashing import Hashes, power, run_at, seen_before, slot_of


@compiled
def top_run(
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
def repeated_runs(
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
