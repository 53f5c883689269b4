from __future__ import annotations

import math

import numpy as np
import pytest

from isoflop.text.difficulty import difficulties, sample
from isoflop.text.document import Documents


def levels(documents: list[bytes], corpus: list[bytes]) -> np.ndarray:
    return difficulties(Documents.of(documents), Documents.of(corpus))


def test_bits_are_those_of_the_counted_trigrams() -> None:
    # corpus "abababab": ab->a 3 times, ba->b 3 times; with p = 0.02, n(ab.) = 3: bits = log2((3 + 128 p) / (3 + p))
    expected = math.log2((3 + 2.56) / 3.02)
    assert levels([b"ababab"], [b"abababab"])[0] == pytest.approx(expected, rel=1e-5)


def test_text_unlike_the_corpus_is_harder() -> None:
    words = b"the cat sat on the mat and the dog sat on the log " * 200
    noise = np.random.default_rng(0).integers(0, 256, size=4000, dtype=np.uint8).tobytes()
    easy, hard = levels([words[:1000], noise], [words, noise])
    assert easy < 1
    assert hard > 2


def test_shortest_documents_have_a_value() -> None:
    assert levels([b"a", b"ab"], [b"a", b"ab"]).tolist() == [0.0, 0.0]


def test_long_documents_are_sampled_from_start_to_end() -> None:
    document = b"".join(bytes([i]) * 10_000 for i in range(20))
    windows = sample(document)
    assert len(windows) == 65_536
    assert windows[0] == 0 and windows[-1] == 19
    assert sample(document[:65_536]) == document[:65_536]
