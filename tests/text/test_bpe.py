"""Merges are those of tokenizers, whatever the text."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.text.bpe import learn_merges
from isoflop.text.document import Documents
from isoflop.text.texts import Texts
from isoflop.text.tokenizer import train_tokenizer
from isoflop.text.words import count_words

PIECES = [
    *"abcxyz",
    *"A\u00c9\u4f60\u094d",
    *"0\u00b2",
    *" \n\u00a0",
    "'s",
    "'ll",
    "  ",
    " a",
    "ab",
    "aa",
    "\U0001f600",
]
TEXTS = st.lists(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join), max_size=6)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(257, 330))
def test_merges_are_those_of_tokenizers(texts: list[str], vocab_size: int) -> None:
    known = "".join(character for text in texts for character in text if unicodedata.category(character) != "Cn")
    documents = Documents.of([f"the {known}".encode(), known[::2].encode()])
    ours, theirs = (train_tokenizer(documents, vocab_size=vocab_size, kernels=kernels) for kernels in (True, False))
    assert ours.to_str() == theirs.to_str()


@pytest.mark.parametrize("seed", range(4))
def test_many_merges_of_few_letters_meet_in_one_spelling(seed: int) -> None:
    """Words of two letters: pairs that overlap (aaa), and tokens that two pairs spell, come up all the time."""
    generator = random.Random(seed)
    words = ["".join(generator.choices("ab", k=generator.randrange(1, 12))) for _ in range(400)]
    documents = Documents.of([" ".join(generator.choices(words, k=4_000)).encode()])
    ours, theirs = (train_tokenizer(documents, vocab_size=900, kernels=kernels) for kernels in (True, False))
    assert ours.to_str() == theirs.to_str()


def test_more_pairs_and_words_than_a_table_holds_at_first() -> None:
    generator = np.random.default_rng(0)
    letters = generator.integers(ord("a"), ord("z") + 1, (200_000, 6), dtype=np.uint8)
    text = b" ".join(bytes(row) for row in letters)
    whole = Texts.of([text])
    words = count_words(whole)
    assert len(words.counts) > 1 << 17
    merges = learn_merges(words, np.arange(256), 2_256)
    assert merges.shape == (2_000, 2) and len(np.unique(merges, axis=0)) == 2_000


def test_nothing_to_learn() -> None:
    assert len(learn_merges(count_words(Texts.of([])), np.arange(256), 300)) == 0
    assert len(learn_merges(count_words(Texts.of([b"a"])), np.arange(256), 300)) == 0
