from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizer import LINES, TOKENIZER, document

from isoflop.text import encode as module
from isoflop.text.document import Documents
from isoflop.text.encode import Encode, encoder_of, is_fast_right
from isoflop.text.tokenizer import (
    END_OF_TEXT,
    END_OF_TEXT_ID,
    cut_for_encoding,
    plain,
    token_byte_lengths,
    train_tokenizer,
)

LENGTHS = token_byte_lengths(TOKENIZER)
REFERENCE = module._by_tokenizers(TOKENIZER)
FAST = module._by_gigatoken(TOKENIZER)
ENCODERS = [REFERENCE, *([FAST] if FAST else [])]


@pytest.mark.parametrize("encode", ENCODERS)
def test_end_of_text_written_in_a_text_is_text(encode: Encode) -> None:
    (ids,) = encode([f"a{END_OF_TEXT}b".encode()])
    assert ids[-1] == END_OF_TEXT_ID and ids.dtype == np.uint16
    assert END_OF_TEXT_ID not in ids[:-1]
    assert LENGTHS[ids].sum() == len(END_OF_TEXT) + 2


@pytest.mark.parametrize("encode", ENCODERS)
def test_documents_come_one_by_one_and_empty_ones_too(encode: Encode) -> None:
    documents = [b"one", b"", "zwei é".encode(), b""]
    found = encode(documents)
    assert [TOKENIZER.decode(ids[:-1].tolist()).encode() for ids in found] == documents
    assert all(ids[-1] == END_OF_TEXT_ID for ids in found)
    assert encode([]) == []


@given(st.lists(st.sampled_from([*LINES, "\x1c", "\x85", "\u00a0", "\u2003", "'s", "  ", "\n\n"]), max_size=400))
def test_cutting_for_speed_changes_no_id(characters: list[str]) -> None:
    text = "".join(characters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isoflop.text.tokenizer._PIECE_BYTES", 5)
        pieces = cut_for_encoding(text.encode())
        (ids,) = REFERENCE([text.encode()])
    assert "".join(pieces) == text
    assert ids.tolist() == [*TOKENIZER.encode(text).ids, END_OF_TEXT_ID]


@pytest.mark.skipif(FAST is None, reason="gigatoken is not installed")
@given(
    st.lists(
        st.text() | st.sampled_from([*LINES, END_OF_TEXT, "'s", " ", "\n", "don't", "12,000"]).map(str), max_size=30
    )
)
def test_the_fast_encoder_gives_the_same_ids(parts: list[str]) -> None:
    assert FAST is not None
    data = ["".join(parts).encode(), *(part.encode() for part in parts)]
    for fast, slow in zip(FAST(data), REFERENCE(data), strict=True):
        np.testing.assert_array_equal(fast, slow)


def test_an_encoder_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Encode = lambda documents: [ids[::-1] for ids in REFERENCE(documents)]  # noqa: E731
    encoder_of.cache_clear()
    monkeypatch.setattr(module, "_by_gigatoken", lambda tokenizer: wrong)
    assert not is_fast_right(TOKENIZER.to_str(), [document(500)])
    encoder_of.cache_clear()
    monkeypatch.setattr(module, "_by_gigatoken", lambda tokenizer: REFERENCE)
    assert is_fast_right(TOKENIZER.to_str(), [document(500)])


def test_a_kind_of_tokenizer_that_is_not_known_is_encoded_all_the_same() -> None:
    from tokenizers import pre_tokenizers

    tokenizer = train_tokenizer(Documents.of([document(2_000)]), vocab_size=300)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    plain(tokenizer)
    (ids,) = encoder_of(tokenizer.to_str(), fast=is_fast_right(tokenizer.to_str(), []))([b"number 1234 is here"])
    assert ids.tolist()[:-1] == tokenizer.encode("number 1234 is here").ids


def test_an_encoder_that_was_loaded_anew_gives_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.text.encode._RENEWED_BYTES", 3_000)
    documents = [document(200, seed) for seed in range(6)]
    encode, reference = (encoder_of.__wrapped__(TOKENIZER.to_str(), fast=fast) for fast in (True, False))
    for data in documents:
        assert np.array_equal(encode([data])[0], reference([data])[0])
