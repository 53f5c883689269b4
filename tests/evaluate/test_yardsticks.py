"""Yardsticks against numbers worked out by hand and against xz itself."""

from __future__ import annotations

import lzma
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.evaluate import yardsticks
from isoflop.evaluate.yardsticks import unigram_bits_per_byte, xz_bits_per_byte


def test_noise_cannot_be_compressed() -> None:
    noise = random.Random(0).randbytes(10_000)
    # LZMA2 stores it: 3 bytes a chunk header, 1 at the end
    assert xz_bits_per_byte([noise]) == pytest.approx(8 * 10_004 / 10_000)


def test_repetition_costs_next_to_nothing() -> None:
    assert xz_bits_per_byte([b"abc" * 10_000]) < 0.03


def test_a_document_learns_nothing_from_another() -> None:
    first, second = random.Random(0).randbytes(2_000), b"a" * 2_000
    alone = [xz_bits_per_byte([first]), xz_bits_per_byte([second])]
    assert xz_bits_per_byte([first, second]) == pytest.approx(sum(alone) / 2)
    assert xz_bits_per_byte([first, first]) == alone[0]


def test_documents_weigh_by_their_bytes() -> None:
    small, large = b"a" * 100, random.Random(0).randbytes(900)
    expected = 0.1 * xz_bits_per_byte([small]) + 0.9 * xz_bits_per_byte([large])
    assert xz_bits_per_byte([small, large]) == pytest.approx(expected)


def test_it_is_xz_9_but_for_the_container() -> None:
    text = " ".join(f"the {n}th of {n % 7} citizens" for n in range(3_000)).encode()
    container = len(lzma.compress(text, preset=9))
    assert 0 < container - xz_bits_per_byte([text]) * len(text) / 8 < 100


def test_unigram_by_hand() -> None:
    # counts 5, 1, 0 over 3 tokens: p = 6/9, 2/9, 1/9
    bits = -math.log2(6 / 9) - math.log2(2 / 9) - math.log2(1 / 9)
    assert unigram_bits_per_byte(np.array([5, 1, 0]), np.array([0, 1, 2]), 4) == pytest.approx(bits / 4)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=20))
def test_no_tokens_frequency_beats_its_own_entropy(counts: list[int]) -> None:
    """Gibbs: coding the smoothed counts' own tokens costs their entropy, any other count vector more."""
    smoothed = np.array(counts) + 1
    ids = np.repeat(np.arange(len(counts)), smoothed)
    p = smoothed / smoothed.sum()
    entropy = -(p * np.log2(p)).sum()
    assert unigram_bits_per_byte(np.array(counts), ids, len(ids)) == pytest.approx(entropy)
    assert unigram_bits_per_byte(np.zeros(len(counts)), ids, len(ids)) >= entropy - 1e-9


def test_tokens_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def bincount(ids: np.ndarray, *, minlength: int) -> np.ndarray:
        lengths.append(len(ids))
        return count(ids, minlength=minlength)

    count = np.bincount
    monkeypatch.setattr(yardsticks, "_CHUNK_TOKENS", 3)
    monkeypatch.setattr(np, "bincount", bincount)
    shards = [np.array([0, 1, 1, 4, 1, 0, 0], dtype=np.uint16), np.array([4], dtype=np.uint16)]
    assert yardsticks.token_counts(shards, 6).tolist() == [3, 3, 0, 0, 2, 0]
    assert lengths == [3, 3, 1, 1]
