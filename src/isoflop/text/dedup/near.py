"""Near-duplicate documents: candidates by locality-sensitive hashing, pairs compared, and joined to clusters.

Signatures are cut into bands; documents that agree in a whole band are candidates (Leskovec, Rajaraman & Ullman 2020,
Mining of Massive Datasets, sec. 3.4). With 16 bands of 7 minima a pair of similarity s is found with probability
1 - (1 - s^7)^16: .98 at .8, .9996 at .9, .12 at .5. False candidates cost a comparison and no document: what counts is
the Jaccard similarity of the shingles themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled
from isoflop.text.dedup.minhash import Signatures
from isoflop.text.hashing import Hashes, mixed

NUM_BANDS, BAND_ROWS = 16, 7
SIMILAR = 0.8
"""Jaccard similarity of the shingles from which two documents are near-duplicates."""


def stars(keys: Hashes, documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """[pairs, 2] of one band: documents of one key, with the first of them.

    In a band of many alike that is a star, not every pair: enough to join them all where they are.
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else np.zeros(0, int)
    firsts = np.repeat(order[begins], np.diff(np.append(begins, len(ranked))))
    others = order != firsts
    return np.column_stack([documents[firsts[others]], documents[order[others]]])


def clusters_of(num_documents: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """[documents]: the first document that each is joined to by ``pairs`` [pairs, 2], directly or not.

    In rounds (after Shiloach & Vishkin 1982): the groups at both ends of a pair get the earlier one's first, then all
    look up whom their first has got. Pairs within a group are left out of the next round.
    """
    firsts = np.arange(num_documents)
    while len(pairs):
        both = firsts[pairs]
        least = both.min(axis=1)
        np.minimum.at(firsts, both, least[:, None])
        while not np.array_equal(further := firsts[firsts], firsts):
            firsts = further
        pairs = pairs[firsts[pairs[:, 0]] != firsts[pairs[:, 1]]]
    return firsts


def jaccard(a: Hashes, b: Hashes) -> float:
    """|a and b| / |a or b| of sorted distinct values; 0 for two empty sets."""
    both = int(_num_common(a, b))
    either = len(a) + len(b) - both
    return both / either if either else 0.0


@compiled
def _num_common(a: Hashes, b: Hashes) -> int:
    i, j, count = 0, 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            i, j, count = i + 1, j + 1, count + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return count


@compiled
def band_keys(signed: Signatures, num_bands: int, rows: int) -> Hashes:
    """[documents, bands]: the minima of a band as one number."""
    keys = np.empty((len(signed), num_bands), dtype=np.uint64)
    for d in range(len(signed)):
        for band in range(num_bands):
            key = np.uint64(band)
            for row in range(rows):
                key = mixed(key ^ np.uint64(signed[d, band * rows + row]))
            keys[d, band] = key
    return keys
