"""What needs no training: the bits per byte of a compressor and of token frequencies, on the same documents."""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np

BIGRAM_SMOOTHING = 30.0
_SMALLEST_DICTIONARY = 4096
"""Bytes; what the format allows."""


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


def unigram_bits_per_byte(train_counts: np.ndarray, ids: np.ndarray, num_bytes: int) -> float:
    """Bits per byte of documents' ``ids`` [tokens] (end-of-text included, ``num_bytes`` of text) by frequency alone.

    p(token) = (count + 1) / (training tokens + V), from ``train_counts`` [V] of the training split (Laplace's
    add-one smoothing). A model above it has not learnt to use its context.
    """
    probabilities = (train_counts + 1.0) / (train_counts.sum() + len(train_counts))
    return float(-np.log2(probabilities)[ids].sum() / num_bytes)


def bigram_bits_per_byte(train_ids: np.ndarray, ids: np.ndarray, num_bytes: int, *, vocab_size: int) -> float:
    """Bits per byte of documents' ``ids`` by the token before, from ``train_ids`` (both [tokens], one stream each).

    p(b | a) = (count(a b) + S p(b)) / (count(a) + S), the unigram p(b) smoothed by one and weighted by S =
    `BIGRAM_SMOOTHING` (Dirichlet smoothing, MacKay & Peto 1995). It tells how hard one set of documents is beside
    another: what a forecast made on validation documents needs to know of the test documents.
    """
    train, held = train_ids.astype(np.int64), ids.astype(np.int64)
    counts = np.bincount(train, minlength=vocab_size)
    unigram = (counts + 1.0) / (counts.sum() + vocab_size)
    pairs, pair_counts = np.unique(train[:-1] * vocab_size + train[1:], return_counts=True)
    wanted = held[:-1] * vocab_size + held[1:]
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    seen = np.where(pairs[place] == wanted, pair_counts[place], 0)
    conditional = (seen + BIGRAM_SMOOTHING * unigram[held[1:]]) / (counts[held[:-1]] + BIGRAM_SMOOTHING)
    return float(-np.log2(conditional).sum() / num_bytes)
