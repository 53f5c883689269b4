"""How hard each document is to predict, cheaply: bits per byte under one byte-trigram model of the whole corpus.

Correlation with the bits per byte of a token-bigram model trained on other documents: 0.94 on the State of the Union
speeches and 0.74 on a mix of novels and Debian documents, where compressibility (zlib) gives 0.55 and -0.37.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from isoflop.core.executor import Executor
from isoflop.text.document import Documents
from isoflop.text.parts import each, spread

_NUM_CLASSES = 128
"""The 127 most frequent bytes, and all others together: the counts fit into 16 MB."""
_PRIOR_COUNT = 0.02
_NUM_WINDOWS, _WINDOW_BYTES = 8, 8_192
_COUNTED_BYTES = 16_000_000
_NUM_BLOCKS = 4
"""Of at most 4 MB, counted at a time."""


def difficulties(documents: Documents, corpus: Documents, executor: Executor | None = None) -> np.ndarray:
    """float64 [num_documents]: mean bits per byte of each document, from windows spread over its first to last byte.

    The model counts the windows of ``corpus`` (about 16 MB at most, every k-th document) with an additive prior:
    bits = -log2((n(abc) + p) / (n(ab) + 128 p)), p = 0.02.
    """
    counted = corpus.take(np.arange(0, len(corpus), _stride(corpus)))
    samples = [b""] * len(counted)  # in their order, wherever they come from: neighbours share trigrams
    times = np.zeros(256, dtype=np.int64)
    for part, (texts, of_bytes) in spread(_samples, counted, executor):
        times += of_bytes
        for index, text in zip(part, texts, strict=True):
            samples[index] = text
    classes = _byte_classes(times)
    model = _trigrams_of(samples, classes, executor)
    levels = np.empty(len(documents))
    for part, found in spread(partial(_levels, classes, model), documents, executor):
        levels[part] = found
    return levels


def _samples(documents: Documents) -> tuple[list[bytes], np.ndarray]:
    """The documents' windows, and int64 [256] how often each byte stands in them."""
    samples = [sample(data) for data in documents]
    times = np.zeros(256, dtype=np.int64)
    for block in _blocks(samples):
        times += np.bincount(np.frombuffer(block, dtype=np.uint8), minlength=256)
    return samples, times


def _levels(classes: bytes, model: _Trigrams, documents: Documents) -> list[float]:
    bits = model.table()
    return [_mean_bits(sample(data).translate(classes), bits) for data in documents]


def sample(document: bytes) -> bytes:
    """All of a document up to 64 kB; of a longer one, eight windows of 8 kB at even distances."""
    if len(document) <= _NUM_WINDOWS * _WINDOW_BYTES:
        return document
    starts = np.linspace(0, len(document) - _WINDOW_BYTES, _NUM_WINDOWS).astype(int)
    return b"".join(document[start : start + _WINDOW_BYTES] for start in starts)


def _stride(corpus: Documents) -> int:
    sampled = int(np.minimum(corpus.sizes, _NUM_WINDOWS * _WINDOW_BYTES).sum())
    return -(-sampled // _COUNTED_BYTES)


def _byte_classes(times: np.ndarray) -> bytes:
    """A `bytes.translate` table from bytes to classes, by how often each stands in the text."""
    table = np.full(256, _NUM_CLASSES - 1, dtype=np.uint8)
    table[np.argsort(-times, kind="stable")[: _NUM_CLASSES - 1]] = np.arange(_NUM_CLASSES - 1)
    return table.tobytes()


@dataclass(frozen=True)
class _Trigrams:
    """Bits of trigrams, small enough to be sent to many processes: most trigrams never occur."""

    seen: np.ndarray
    """int32 [seen]: trigrams that occur."""
    bits: np.ndarray
    """float32 [seen]"""
    unseen: np.ndarray
    """float32 [classes^2]: of those that do not, by the two classes they begin with."""

    def table(self) -> np.ndarray:
        """float32 [classes^3]"""
        bits = self.unseen.repeat(_NUM_CLASSES)
        bits[self.seen] = self.bits
        return bits


def _trigrams_of(samples: list[bytes], classes: bytes, executor: Executor | None) -> _Trigrams:
    counts = np.zeros(_NUM_CLASSES**3, dtype=np.int64)
    blocks = list(_blocks(samples))
    parts = [blocks[first : first + _NUM_BLOCKS] for first in range(0, len(blocks), _NUM_BLOCKS)]
    for seen, times in each(partial(_counts, classes), parts, executor):
        counts[seen] += times
    table = counts.reshape(-1, _NUM_CLASSES) + _PRIOR_COUNT
    bits = (np.log2(table.sum(axis=1, keepdims=True)) - np.log2(table)).astype(np.float32)
    seen = np.flatnonzero(counts).astype(np.int32)
    return _Trigrams(seen, bits.ravel()[seen], bits.max(axis=1))


def _counts(classes: bytes, blocks: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The trigrams that occur within blocks, and how often."""
    counts = np.bincount(np.concatenate([_trigrams(block.translate(classes)) for block in blocks]))
    seen = np.flatnonzero(counts)
    return seen, counts[seen]


def _mean_bits(classed: bytes, bits: np.ndarray) -> float:
    trigrams = _trigrams(classed)
    return float(bits.take(trigrams).mean()) if len(trigrams) else 0.0


def _trigrams(classed: bytes) -> np.ndarray:
    """int32 [length - 2]: each three neighbouring classes as one number."""
    values = np.frombuffer(classed, dtype=np.uint8).astype(np.int32)
    trigrams: np.ndarray = (values[:-2] * _NUM_CLASSES + values[1:-1]) * _NUM_CLASSES + values[2:]
    return trigrams


def _blocks(samples: list[bytes]) -> Iterator[bytes]:
    """The samples joined by the 64: blocks of at most 4 MB."""
    for start in range(0, len(samples), 64):
        yield b"".join(samples[start : start + 64])
