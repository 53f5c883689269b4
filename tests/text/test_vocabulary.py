"""A smaller vocabulary is what training for one would have given; what a text is in its tokens."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from isoflop.text import prepare as corpus
from isoflop.text import vocabulary
from isoflop.text.document import Documents
from isoflop.text.prepare import open_split
from isoflop.text.tokenizer import train_tokenizer
from isoflop.text.vocabulary import Cut, cuts, smaller
from toy import write_texts


def documents(folder: Path) -> Documents:
    return Documents.of([path.read_bytes() for path in sorted(write_texts(folder, num_files=12).iterdir())])


def test_the_first_words_of_a_large_vocabulary_are_those_of_a_small_one(tmp_path: Path) -> None:
    texts = documents(tmp_path)
    small, large = (train_tokenizer(texts, vocab_size=size) for size in (300, 420))
    assert json.loads(smaller(large, 300).to_str()) == json.loads(small.to_str())
    assert json.loads(smaller(large, 420).to_str()) == json.loads(large.to_str())


def test_what_a_text_is_in_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = documents(tmp_path)
    tokenizer = train_tokenizer(texts, vocab_size=320)
    monkeypatch.setattr(vocabulary, "SIZES", (257, 320, 1024))
    by_bytes, found = cuts(tokenizer, texts)  # of 1,024 it has none
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    shares = np.unique(data, return_counts=True)[1] / len(data)
    entropy = float(-np.sum(shares * np.log(shares))) + (len(shares) - 1) / (2 * len(data))
    assert by_bytes == Cut(257, 1.0, pytest.approx(entropy))
    ids = np.concatenate([tokenizer.encode(text.decode()).ids for text in texts])
    assert found.vocab_size == 320 and found.tokens_per_byte == pytest.approx(len(ids) / len(data))
    assert by_bytes.unigram_nats < found.unigram_nats < math.log(320)


@pytest.mark.parametrize(("least", "expected"), [(1, 300), (10_000_000, 1024)])
def test_large_texts_are_cut_as_is_chosen_and_small_ones_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, expected: int
) -> None:
    monkeypatch.setattr(corpus, "LEAST_BYTES", least)
    monkeypatch.setattr(corpus, "SIZES", (420,))
    monkeypatch.setattr(vocabulary, "SIZES", (300, 420))
    asked: list[list[int]] = []

    def choose(found: list[Cut], num_bytes: int) -> int:
        asked.append([cut.vocab_size for cut in found])
        assert num_bytes == sum(path.stat().st_size for path in (tmp_path / "texts").iterdir())
        return 300

    texts = write_texts(tmp_path / "texts", num_files=60)
    manifest = corpus.prepare([texts], tmp_path / "corpus", choose=choose)
    assert asked == ([[300, 420]] if expected == 300 else [])
    assert manifest.vocab_size <= expected and (expected == 1024 or manifest.vocab_size == 300)
    assert max(int(shard.max()) for shard in open_split(tmp_path / "corpus", manifest.train)) < manifest.vocab_size
