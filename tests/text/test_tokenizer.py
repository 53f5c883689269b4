from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from isoflop.core.errors import TextError
from isoflop.text.document import Documents
from isoflop.text.tokenizer import (
    END_OF_TEXT,
    END_OF_TEXT_ID,
    choose_vocab_size,
    cut_for_encoding,
    parse_tokenizer,
    token_byte_lengths,
    train_tokenizer,
)

LINES = "The people's government doesn't rest; on 3 May, caf\u00e9s (\u4f60\u597d) opened.\n\t  Next  line...\r\n\n"


def document(num_words: int, seed: int = 0) -> bytes:
    generator = random.Random(seed)
    words = [
        *LINES.split(" "),
        "nation",
        "nations",
        "national",
        "peace",
        "\u00fcber",
        "\U0001f600",
        "  ",
        "\n\n",
        "'ll",
    ]
    return " ".join(generator.choices(words, k=num_words)).encode()


TOKENIZER = parse_tokenizer(train_tokenizer(Documents.of([document(20_000)]), vocab_size=400).to_str())
LENGTHS = token_byte_lengths(TOKENIZER)


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [(999_999, 1_024), (1_000_000, 2_048), (4_999_999, 2_048), (5_000_000, 4_096), (100_000_000, 8_192)],
)
def test_vocabulary_grows_with_the_corpus(num_bytes: int, expected: int) -> None:
    assert choose_vocab_size(num_bytes) == expected


@given(st.text(max_size=300) | st.lists(st.sampled_from([*LINES, END_OF_TEXT, "'s", " ", "\n"])).map("".join))
def test_lossless_and_exact_about_bytes(text: str) -> None:
    ids = TOKENIZER.encode(text).ids
    assert TOKENIZER.decode(ids) == text
    assert LENGTHS[ids].sum() == len(text.encode())
    assert END_OF_TEXT_ID not in ids


def test_long_documents_are_cut_and_short_ones_are_not() -> None:
    assert len(cut_for_encoding(document(20_000))) > 4
    assert len(cut_for_encoding(document(100))) == 1


def test_training_is_deterministic_and_of_the_asked_size() -> None:
    documents = Documents.of([document(3_000, seed) for seed in range(4)])
    first = train_tokenizer(documents, vocab_size=300)
    assert first.get_vocab_size() == 300
    assert first.token_to_id(END_OF_TEXT) == END_OF_TEXT_ID
    assert train_tokenizer(documents, vocab_size=300).to_str() == first.to_str()


def test_vocabulary_is_smaller_where_the_text_repeats_too_little() -> None:
    tokenizer: Tokenizer = train_tokenizer(Documents.of([b"abc abc xyz"]), vocab_size=1_024)
    assert 257 <= tokenizer.get_vocab_size() < 300
    assert sorted(token_byte_lengths(tokenizer))[:257] == [0] + [1] * 256


@pytest.mark.parametrize("size", [0, 256, 65_537])
def test_impossible_vocabulary_is_refused(size: int) -> None:
    with pytest.raises(TextError, match="between 257 and 65536"):
        train_tokenizer([document(10)], vocab_size=size)
