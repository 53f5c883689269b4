"""Tokenizers of other models: Llama's, BERT's and those of more ids than fit two bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_prepare import write_corpus
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from isoflop.core.errors import TextError
from isoflop.text.encode import encoder_of, is_fast_right
from isoflop.text.prepare import load, open_documents, open_split, open_tokenizer, prepare
from isoflop.text.tokenizer import end_of_text, end_of_text_id, num_ids, read_tokenizer, splits_like_gpt2

TEXTS = ["The law of the nation", "peace, peace!", "  two  spaces\n", "\u00fcber <s> </s>", ""]


def like_llama(path: Path) -> Path:
    """Spaces as marks, bytes for what is unknown, <s> put before every text, and a limit on its length."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    kind = json.loads(tokenizer.to_str())
    kind["added_tokens"] = kind["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(kind))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.enable_truncation(4)
    tokenizer.save(str(path))
    return path


def like_bert(path: Path) -> Path:
    """Lower case, one id a word: much is lost."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 7, "gov": 2, "ern": 3}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[UNK]", "[SEP]"])
    tokenizer.save(str(path))
    return path


def test_what_other_models_do_to_a_text_is_left_out(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(like_llama(tmp_path / "tokenizer.json"))
    assert end_of_text(tokenizer) == "</s>" and end_of_text_id(tokenizer) == 2 and not splits_like_gpt2(tokenizer)
    documents = [text.encode() for text in TEXTS]
    found = encoder_of(tokenizer.to_str(), fast=is_fast_right(tokenizer.to_str(), documents))(documents)
    assert [tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False) for ids in found] == TEXTS
    for ids in found:
        assert ids[-1] == 2 and ids.dtype == np.uint16 and 1 not in ids and 2 not in ids[:-1]


def test_a_text_is_prepared_by_it(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(like_llama(tmp_path / "tokenizer.json"))
    texts, out = write_corpus(tmp_path / "texts"), tmp_path / "corpus"
    manifest = prepare([texts], out, tokenizer=tokenizer)
    assert (manifest.end_of_text, manifest.end_of_text_id) == ("</s>", 2)
    assert manifest.vocab_size == num_ids(tokenizer) and load(out) == manifest
    kept = open_tokenizer(out, manifest)
    ends = np.cumsum(open_documents(out, manifest.val)[:, 0])
    pieces = np.split(np.concatenate(open_split(out, manifest.val)), ends[:-1])
    given = {path.read_text() for path in texts.iterdir()}
    assert {kept.decode(piece[:-1].tolist()) for piece in pieces} <= given
    assert [warning.code for warning in manifest.warnings if warning.code != "tiny_corpus"] == []


def test_a_vocabulary_beyond_two_bytes_is_kept_in_four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.text.encode.LARGEST_VOCAB", 300)
    encoder_of.cache_clear()
    tokenizer = read_tokenizer(like_llama(tmp_path / "tokenizer.json"))
    texts = write_corpus(tmp_path / "texts")
    manifest = prepare([texts], tmp_path / "wide", tokenizer=tokenizer)
    wide = open_split(tmp_path / "wide", manifest.train)
    monkeypatch.undo()
    encoder_of.cache_clear()
    narrow = open_split(tmp_path / "narrow", prepare([texts], tmp_path / "narrow", tokenizer=tokenizer).train)
    assert {ids.dtype.name for ids in wide} == {"uint32"} and {ids.dtype.name for ids in narrow} == {"uint16"}
    assert all(np.array_equal(a, b) for a, b in zip(wide, narrow, strict=True))


def test_a_tokenizer_that_loses_text_is_told(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(like_bert(tmp_path / "tokenizer.json"))
    assert num_ids(tokenizer) == 8
    manifest = prepare([write_corpus(tmp_path / "texts")], tmp_path / "corpus", tokenizer=tokenizer)
    (warning,) = [warning for warning in manifest.warnings if warning.code == "lossy_tokenizer"]
    assert warning.message.startswith(f"the tokenizer changes {manifest.val.num_documents} of")
    assert manifest.vocab_size == 8 and manifest.end_of_text == "[SEP]"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "cannot be read"),
        (b"{}", "no tokenizer.json"),
        (b"\xff", "not UTF-8"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}', "has no end of text"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "tokenizer.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TextError, match=rf"tokenizer\.json: .*{told}"):
        read_tokenizer(path)
