"""Lines are those that Python splits at line feeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.text.linewise import line_starts, only_lines, owners
from isoflop.text.texts import Texts

DOCUMENTS = st.lists(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r"]), max_size=8).map(b"".join), max_size=6)


def lines_of(document: bytes) -> list[bytes]:
    parts = [part + b"\n" for part in document.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]


@settings(deadline=None)
@given(DOCUMENTS, st.integers(0, 2**32), st.integers(0, 3))
def test_lines_and_what_is_left_of_them(documents: list[bytes], seed: int, skipped: int) -> None:
    whole = Texts.of(documents)
    texts = Texts(whole.data, whole.offsets[min(skipped, len(documents)) :])  # as a slice of Arrow's begins later
    documents = documents[min(skipped, len(documents)) :]
    expected = [(d, line) for d, document in enumerate(documents) for line in lines_of(document)]
    starts = line_starts(texts)
    found = [texts.data[a:b].tobytes() for a, b in pairwise(starts)]
    assert found == [line for _, line in expected] and owners(texts, starts).tolist() == [d for d, _ in expected]
    stays = np.random.default_rng(seed).random(len(expected)) < 0.5
    left = [
        b"".join(line for (owner, line), stay in zip(expected, stays, strict=True) if stay and owner == d)
        for d in range(len(documents))
    ]
    assert list(only_lines(texts, starts, stays)) == left
