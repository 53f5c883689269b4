"""The trigram model against a plain dictionary's, and what it must know of text."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.ngrams import copy_gain, sample_blocks, trigram_nats

VOCAB = 5
tokens = st.lists(st.integers(0, VOCAB - 1), min_size=3, max_size=60).map(lambda ids: np.array(ids, dtype=np.uint16))


def by_dictionary(train: list[int], context: list[int], token: int) -> float:
    """p(token | context) by the recursion in the docstring, read off tables of n-grams."""
    if not context:
        return (train.count(token) + 0.5) / (len(train) + 0.5 * VOCAB)
    lower = by_dictionary(train, context[1:], token)
    order = len(context) + 1
    grams = Counter(tuple(train[i : i + order]) for i in range(len(train) - order + 1))
    after = {gram[-1]: n for gram, n in grams.items() if list(gram[:-1]) == context}
    if not after:
        return lower
    total = sum(after.values())
    return (max(after.get(token, 0) - 0.75, 0) + 0.75 * len(after) * lower) / total


@given(train=tokens, heldout=tokens)
def test_equals_the_recursion(train: np.ndarray, heldout: np.ndarray) -> None:
    positions = np.arange(2, len(heldout))
    nats = trigram_nats(train, heldout, positions, vocab_size=VOCAB)
    expected = [
        -math.log(by_dictionary(train.tolist(), heldout[i - 2 : i].tolist(), int(heldout[i]))) for i in positions
    ]
    assert nats == pytest.approx(expected, rel=1e-12)


@given(train=tokens, context=tokens)
def test_probabilities_sum_to_one(train: np.ndarray, context: np.ndarray) -> None:
    total = sum(
        math.exp(-trigram_nats(train, np.append(context, token), np.array([len(context)]), vocab_size=VOCAB)[0])
        for token in range(VOCAB)
    )
    assert total == pytest.approx(1.0, rel=1e-12)


def test_more_text_of_a_kind_predicts_it_better() -> None:
    rng = np.random.default_rng(0)
    text = rng.choice(50, p=np.arange(1, 51) / 1275, size=40_000) // 2 * 2 + np.arange(40_000) % 2
    train, heldout = text[:30_000].astype(np.uint16), text[30_000:].astype(np.uint16)
    positions = np.arange(2, len(heldout))
    losses = [trigram_nats(train[:n], heldout, positions, vocab_size=52).mean() for n in (1_000, 5_000, 30_000)]
    assert losses == sorted(losses, reverse=True)


def test_a_sample_is_whole_where_it_can_be_and_spread_where_not() -> None:
    shards = [np.arange(3_000, dtype=np.uint16), np.arange(3_000, 10_000, dtype=np.uint16)]
    assert np.array_equal(sample_blocks(shards, 10_000), np.arange(10_000))
    some = sample_blocks(shards, 3_000)
    assert 0.5 * 3_000 < len(some) <= 1.2 * 3_000 and len(np.unique(some)) == len(some)
    assert some[0] == 0 and some[-1] > 9_000


def test_a_text_that_repeats_itself_can_be_copied() -> None:
    rng = np.random.default_rng(0)
    fresh = rng.integers(0, 500, 4_000).astype(np.uint16)
    repeated = np.concatenate([np.tile(fresh[start : start + 50], 2) for start in range(0, 2_000, 50)])
    positions = np.arange(2, 2_000)
    nats = np.full(len(positions), math.log(500))
    windows = (positions - 2) // 250
    gains = [copy_gain(text, positions, windows, nats, vocab_size=500) for text in (fresh, repeated)]
    assert gains[0] < 0.01 and 0.3 < gains[1] < 0.5
    apart = copy_gain(repeated, positions, positions // 25, nats, vocab_size=500)  # no window holds both
    assert apart < 0.01


def test_the_gain_of_copying_by_hand() -> None:
    heldout = np.array([1, 2, 3, 1, 2, 3, 1, 2, 4], dtype=np.uint16)
    positions = np.arange(2, 9)  # guesses: 3 at place 5 (right), 1 at 6 (right), 2 at 7 (right), 3 at 8 (wrong)
    nats = np.full(7, math.log(4))
    saved = 3 * math.log(0.25 * 0.25 + 0.75) + math.log(0.25 * 0.25) + 4 * math.log(4)
    assert copy_gain(heldout, positions, np.zeros(7, dtype=int), nats, vocab_size=5) == pytest.approx(
        saved / (7 * math.log(4))
    )
