"""Text of known entropy: its rate against its own sample, and what a model of its true probabilities scores."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from isoflop.text.entropy import WORDS_PER_DOCUMENT, MarkovText

SMALL = MarkovText(num_words=30)


def test_rows_and_states_are_distributions() -> None:
    assert SMALL.probabilities.sum(axis=1) == pytest.approx(np.ones(30))
    assert SMALL.stationary.sum() == pytest.approx(1.0) and (SMALL.stationary > 0).all()
    assert len(set(SMALL.words)) == 30


def test_the_rate_is_what_its_own_probabilities_score() -> None:
    """Mean -ln P of 600 documents' words and ends, over words: within four standard errors of h."""
    text, index = SMALL, {word: i for i, word in enumerate(SMALL.words)}
    stop, surprise, num_words, num_bytes = 1 / WORDS_PER_DOCUMENT, [], 0, 0
    for document in text.documents(600):
        words = [index[word] for word in document.split()]
        before, nats = 0, 0.0
        for word in words:
            nats -= math.log(text.probabilities[before, word])
            before = word
        surprise.append(nats - math.log(stop) - (len(words) - 1) * math.log1p(-stop) - text.nats_per_word * len(words))
        num_words, num_bytes = num_words + len(words), num_bytes + len(document.encode())
    error = np.std(surprise) * math.sqrt(len(surprise))
    assert sum(surprise) == pytest.approx(0.0, abs=4 * error)
    assert error < 0.01 * text.nats_per_word * num_words
    assert num_bytes / num_words == pytest.approx(text.bytes_per_word, rel=0.01)


def test_the_rate_lies_below_the_entropy_of_the_words() -> None:
    words = Counter(word for document in SMALL.documents(300) for word in document.split())
    shares = np.array(list(words.values())) / sum(words.values())
    assert 0 < SMALL.nats_per_word < -(shares * np.log(shares)).sum()
    assert SMALL.bits_per_byte == pytest.approx(SMALL.nats_per_word / math.log(2) / SMALL.bytes_per_word)


def test_documents_are_reproducible_and_differ() -> None:
    first, again, other = (list(SMALL.documents(5, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other and len(set(first)) == 5
