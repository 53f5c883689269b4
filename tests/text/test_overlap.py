"""The overlap of texts, against sets of n-grams made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.text.overlap import NGRAM_TOKENS, ngram_overlap


def ngrams(ids: list[int]) -> set[tuple[int, ...]]:
    return {tuple(ids[i : i + NGRAM_TOKENS]) for i in range(len(ids) - NGRAM_TOKENS + 1)}


def test_a_copy_overlaps_whole_and_a_stranger_not_at_all() -> None:
    text = np.arange(100, dtype=np.uint16)
    assert ngram_overlap([text], text[20:60]) == 1.0
    assert ngram_overlap([text], text[::-1].copy()) == 0.0


def test_half_a_copy() -> None:
    # 20 shared tokens hold 13 n-grams; 33 tokens in all hold 26
    train, heldout = np.arange(20), np.r_[np.arange(20), 1000 + np.arange(13)]
    assert ngram_overlap([train], heldout) == pytest.approx(13 / 26)


def test_too_short_a_text_has_none() -> None:
    assert ngram_overlap([np.arange(50)], np.arange(NGRAM_TOKENS - 1)) == 0.0


@given(st.lists(st.integers(0, 2), min_size=8, max_size=80), st.lists(st.integers(0, 2), min_size=8, max_size=60))
@settings(max_examples=50, deadline=None)
def test_it_is_the_share_of_distinct_ngrams(train: list[int], heldout: list[int]) -> None:
    expected = len(ngrams(heldout) & ngrams(train)) / len(ngrams(heldout))
    assert ngram_overlap([np.array(train)], np.array(heldout)) == pytest.approx(expected)
