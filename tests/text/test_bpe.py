"""Words and merges are those of tokenizers, whatever the text."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from isoflop.text.bpe import classes, count_words, learn_merges
from isoflop.text.document import Document
from isoflop.text.texts import Texts
from isoflop.text.tokenizer import train_tokenizer

SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
PIECES = [
    *"abcxyz",
    *"AÉß\u4f60\u0928\u094d\u01c5",
    *"0\u0661\u00b2\u2160",
    *" \n\t\r\v\u00a0\u2028\x85\u3000",
    *"'.,-_\x1c\u200b\ufeff",
]
PIECES += [
    "'s",
    "'re",
    "'ll",
    "'LL",
    "  ",
    " a",
    "\U0001f600",
    "\U00020000",
    "\U0001d400",
    "\U000e0100",
    "<|endoftext|>",
]
TEXTS = st.lists(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join), max_size=6)


def words_of(texts: list[str]) -> Counter[str]:
    return Counter(text[start:end] for text in texts for _, (start, end) in SPLIT.pre_tokenize_str(text) if end > start)


def counted(texts: list[str]) -> Counter[str]:
    whole = Texts.of([text.encode() for text in texts])
    found = zip(*(column.tolist() for column in count_words(whole)), strict=True)
    return Counter({bytes(whole.data[start : start + size]).decode(): count for start, size, count in found})


@settings(deadline=None)
@given(TEXTS)
def test_words_are_those_of_tokenizers(texts: list[str]) -> None:
    known = [text for text in texts if all(unicodedata.category(character) != "Cn" for character in text)]
    assert counted(known) == words_of(known)


def test_every_character_of_the_interpreter_is_of_the_class_that_tokenizers_gives_it() -> None:
    kinds = {(1, 2, 2): 0, (2, 1, 2): 1, (2, 2, 2): 2, (2, 2, 1): 3}
    table = classes()
    codes = [code for code in range(0, len(table), 7) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    for code in [*range(0x300), *codes]:
        joined = tuple(len(SPLIT.pre_tokenize_str(before + chr(code))) for before in "a1!")
        assert table[code] == kinds[joined], hex(code)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(257, 330))
def test_merges_are_those_of_tokenizers(texts: list[str], vocab_size: int) -> None:
    known = "".join(character for text in texts for character in text if unicodedata.category(character) != "Cn")
    documents = [Document.of(f"the {known}".encode()), Document.of(known[::2].encode())]
    ours, theirs = (train_tokenizer(documents, vocab_size=vocab_size, kernels=kernels) for kernels in (True, False))
    assert ours.to_str() == theirs.to_str()


@pytest.mark.parametrize("seed", range(4))
def test_many_merges_of_few_letters_meet_in_one_spelling(seed: int) -> None:
    """Words of two letters: pairs that overlap (aaa), and tokens that two pairs spell, come up all the time."""
    generator = random.Random(seed)
    words = ["".join(generator.choices("ab", k=generator.randrange(1, 12))) for _ in range(400)]
    documents = [Document.of(" ".join(generator.choices(words, k=4_000)).encode())]
    ours, theirs = (train_tokenizer(documents, vocab_size=900, kernels=kernels) for kernels in (True, False))
    assert ours.to_str() == theirs.to_str()


def test_more_pairs_and_words_than_a_table_holds_at_first() -> None:
    generator = np.random.default_rng(0)
    letters = generator.integers(ord("a"), ord("z") + 1, (200_000, 6), dtype=np.uint8)
    text = b" ".join(bytes(row) for row in letters)
    whole = Texts.of([text])
    assert len(count_words(whole)[0]) > 1 << 17
    merges = learn_merges(whole, np.arange(256), 2_256)
    assert merges.shape == (2_000, 2) and len(np.unique(merges, axis=0)) == 2_000


def test_nothing_to_learn() -> None:
    assert len(learn_merges(Texts.of([]), np.arange(256), 300)) == 0
    assert len(learn_merges(Texts.of([b"a"]), np.arange(256), 300)) == 0
