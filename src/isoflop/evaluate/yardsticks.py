"""What needs no training: the bits per byte of a compressor and of token frequencies, on the same documents."""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np

_SMALLEST_DICTIONARY = 4096
"""Bytes; what the format allows."""
_CHUNK_TOKENS = 1 << 22
"""Counted at once: `numpy.bincount` makes 8 bytes of each token."""


def xz_bits_per_byte(documents: Sequence[bytes]) -> float:
    """Bits per byte of ``xz -9`` (LZMA2, preset 9) on each document alone, documents weighted by their bytes.

    Raw streams: the container's header and checksum (some 60 bytes a file) are not counted. The dictionary is as
    long as the document, which loses nothing against the preset's 64 MiB and saves its 674 MB of memory. It learns
    from nothing but the document: a model that has seen the training text has an advantage that is its purpose.
    """
    compressed = sum(len(_compress(document)) for document in documents)
    return 8 * compressed / sum(len(document) for document in documents)


def _compress(document: bytes) -> bytes:
    size = max(_SMALLEST_DICTIONARY, len(document))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": size}]
    return lzma.compress(document, format=lzma.FORMAT_RAW, filters=filters)


def token_counts(shards: Sequence[np.ndarray], vocab_size: int) -> np.ndarray:
    """How often each of ``vocab_size`` tokens stands in the shards, int64 [V]; needs memory for a part of a shard."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for shard in shards:
        for start in range(0, len(shard), _CHUNK_TOKENS):
            counts += np.bincount(shard[start : start + _CHUNK_TOKENS], minlength=vocab_size)
    return counts


def unigram_bits_per_byte(train_counts: np.ndarray, ids: np.ndarray, num_bytes: int) -> float:
    """Bits per byte of documents' ``ids`` [tokens] (end-of-text included, ``num_bytes`` of text) by frequency alone.

    p(token) = (count + 1) / (training tokens + V), from ``train_counts`` [V] of the training split (Laplace's
    add-one smoothing). A model above it has not learnt to use its context.
    """
    probabilities = (train_counts + 1.0) / (train_counts.sum() + len(train_counts))
    return float(-np.log2(probabilities)[ids].sum() / num_bytes)
