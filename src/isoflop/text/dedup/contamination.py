"""Texts that a model will be judged by, found again in what it is to learn from.

A document is contaminated where it shares a run of 13 words with a benchmark (Brown et al. 2020, arXiv 2005.14165,
app. C), or a whole sentence of at least six: many questions are shorter than 13 words. Words are compared as for
near-duplicates, without case, accents, punctuation and the values of numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.text.dedup.minhash import shingles, wholes
from isoflop.text.hashing import Hashes
from isoflop.text.sentences import sentences
from isoflop.text.shards import Shelf, write_numbers
from isoflop.text.texts import Texts

RUN_WORDS = 13
MIN_SENTENCE_WORDS = 6


@dataclass(frozen=True)
class Benchmarks:
    """What is looked for: the hashes of runs and sentences, and whose each is."""

    names: tuple[str, ...]
    num_items: tuple[int, ...]
    """Of each benchmark: its questions, passages or whatever its documents are."""
    hashes: Shelf
    """uint64 [3, hashes], sorted by the first row: hash, benchmark, item."""

    def table(self) -> NDArray[np.uint64]:
        return _table(self.hashes)


@cache
def _table(hashes: Shelf) -> NDArray[np.uint64]:
    return hashes.numbers()


def write_benchmarks(items: Sequence[tuple[str, Sequence[bytes]]], folder: Path) -> Benchmarks:
    """Of each benchmark its name and items (UTF-8); leaves ``benchmarks.npy`` in ``folder``."""
    parts = [
        np.stack([found, np.full_like(found, number), np.full_like(found, item)])
        for number, (_, texts) in enumerate(items)
        for item, text in enumerate(texts)
        if len(found := marks(text))
    ]
    table = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0), dtype=np.uint64)
    table = table[:, np.argsort(table[0], kind="stable")]
    shelf = Shelf(folder, write_numbers(folder, "benchmarks.npy", table))
    return Benchmarks(tuple(name for name, _ in items), tuple(len(texts) for _, texts in items), shelf)


def marks(text: bytes) -> Hashes:
    """What a text shares with another that holds part of it: its runs of words and its sentences, sorted, distinct."""
    together = Texts.of([text, *(sentence.encode() for sentence in sentences(text.decode()))])
    whole, num_words = wholes(together)
    runs = shingles(together, 0, RUN_WORDS) if num_words[0] >= RUN_WORDS else whole[:0]
    return np.unique(np.concatenate([runs, whole[num_words >= MIN_SENTENCE_WORDS]]))


def contaminations(text: bytes, benchmarks: Benchmarks) -> Counter[tuple[str, int]]:
    """The benchmarks' items of which the text holds a mark, and how many marks of each."""
    table = benchmarks.table()
    found = marks(text)
    starts, ends = np.searchsorted(table[0], found, "left"), np.searchsorted(table[0], found, "right")
    hits = [column for start, end in zip(starts.tolist(), ends.tolist(), strict=True) for column in range(start, end)]
    return Counter((benchmarks.names[int(table[1, column])], int(table[2, column])) for column in hits)
