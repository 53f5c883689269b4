"""Importing this loads the kernels that every preparation of a text needs, or compiles them where none are kept: a
process that is forked afterwards has them."""

from __future__ import annotations

import numpy as np

from isoflop.text.bpe import learn_merges
from isoflop.text.dedup.minhash import shingles, signatures
from isoflop.text.dedup.near import BAND_ROWS, NUM_BANDS, band_keys, jaccard
from isoflop.text.quality.statistics import statistics
from isoflop.text.shapes import shapes
from isoflop.text.texts import Texts, strings
from isoflop.text.words import count_words, joined


def _load() -> None:
    """By the types that they are called with: a kernel is compiled anew for each."""
    read, stored = Texts.of([b"one"]), Texts.of_arrow(strings([b"one"]))
    statistics(read)
    shapes(read)
    band_keys(signatures(stored), NUM_BANDS, BAND_ROWS)
    jaccard(shingles(stored, 0), np.zeros(0, dtype=np.uint64))
    learn_merges(joined([count_words(read)]), np.arange(256), 256)


_load()
