"""How much of a held-out text stands in the training text word for word: what a model can copy rather than predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NGRAM_TOKENS = 8
"""Tokens of an n-gram: long enough that chance repeats are rare, short enough to find shared phrases."""
SAMPLE = 50_000
"""N-grams of the held-out text that are looked up: a share of .1 is then known to .0013 (1 sd)."""
_CHUNK_TOKENS = 1 << 21
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def ngram_overlap(train: Sequence[np.ndarray], heldout: np.ndarray) -> float:
    """Share of the held-out text's distinct n-grams (evenly spaced ones, at most `SAMPLE`) that occur in training.

    ``train`` are shards [tokens], ``heldout`` is [tokens]. N-grams across a document's end count like others; two
    different ones are taken for equal with probability 2^-64 each (polynomial hash).
    """
    hashes = _hashes(heldout)
    if not len(hashes):
        return 0.0
    wanted = np.unique(hashes[:: max(1, len(hashes) // SAMPLE)])
    found = np.zeros(len(wanted), dtype=bool)
    for shard in train:
        for start in range(0, len(shard), _CHUNK_TOKENS):
            chunk = _hashes(shard[start : start + _CHUNK_TOKENS + NGRAM_TOKENS - 1])
            place = np.minimum(np.searchsorted(wanted, chunk), len(wanted) - 1)
            found[place[wanted[place] == chunk]] = True
    return float(found.mean())


def _hashes(ids: np.ndarray) -> np.ndarray:
    """uint64 [tokens - n + 1]: a polynomial hash of every n-gram, modulo 2^64."""
    count = max(0, len(ids) - NGRAM_TOKENS + 1)
    values = ids.astype(np.uint64) + np.uint64(1)
    result = np.zeros(count, dtype=np.uint64)
    for offset in range(NGRAM_TOKENS):
        result = result * _MULTIPLIER + values[offset : offset + count]
    return result
