"""A trigram model of tokens by counting alone: what a text of a given length teaches, at the price of some sorting.

A trained model and a trigram model learn from a text at much the same pace: over corpora whose losses differ by 15 %,
the ratio of the two at equal tokens stays within some 1.5 % (docs/log.md, 10). So a trigram model of all the text says
beforehand, to about that, where a model of a known size will end, and how much harder one held-out set is than another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Ids = np.ndarray
_DISCOUNT = 0.75
"""Taken from every count (Ney, Essen & Kneser 1994 find 0.6 to 0.9)."""
_ORDER = 3
_BLOCK_TOKENS = 256
"""As long as a small model's sequences: the variety of a sample matters as much as its length."""
_UNIGRAM_COUNT = 0.5
"""Added to every token's count, so that none is impossible."""


def sample_blocks(shards: Sequence[Ids], num_tokens: int) -> Ids:
    """At most about ``num_tokens`` [tokens] of the shards, in evenly spaced blocks; all where they have fewer."""
    total = sum(map(len, shards))
    if total <= num_tokens:
        return np.concatenate([np.asarray(shard) for shard in shards])
    stride = -(-total // num_tokens)
    blocks = [
        np.asarray(shard[start : start + _BLOCK_TOKENS])
        for shard in shards
        for start in range(0, len(shard), stride * _BLOCK_TOKENS)
    ]
    return np.concatenate(blocks)


def trigram_nats(train: Ids, heldout: Ids, positions: np.ndarray, *, vocab_size: int) -> np.ndarray:
    """-ln p, float64 [positions], of the tokens of ``heldout`` [tokens] at ``positions`` under a model of ``train``.

    Interpolated absolute discounting (Ney, Essen & Kneser 1994): p(w | h) = max(n(hw) - d, 0) / n(h) + d t(h) / n(h)
    p(w | h'), with t(h) the number of different tokens seen after h, and h' = h without its first token. A position
    with fewer than two tokens before it counts as following the text's beginning, wrapped around.
    """
    counts = np.bincount(train, minlength=vocab_size) + _UNIGRAM_COUNT
    p = (counts / counts.sum())[heldout[positions]]
    for order in range(2, _ORDER + 1):
        p = _interpolated(train, heldout, positions, order, vocab_size, p)
    result: np.ndarray = -np.log(p)
    return result


def _interpolated(
    train: Ids, heldout: Ids, positions: np.ndarray, order: int, vocab_size: int, p: np.ndarray
) -> np.ndarray:
    """p [positions] of one order more, from that of the order below."""
    wanted = _keys(heldout.take(positions[:, None] + np.arange(1 - order, 1), mode="wrap").T, vocab_size)
    grams = _keys(np.stack([train[i : len(train) - order + 1 + i] for i in range(order)]), vocab_size)
    contexts, place = np.unique(wanted // np.uint64(vocab_size), return_inverse=True)
    row = np.searchsorted(contexts, grams // np.uint64(vocab_size)).clip(max=len(contexts) - 1)
    seen = contexts[row] == grams // np.uint64(vocab_size)
    followers, num_followed = np.unique(grams[seen], return_counts=True)
    num_context = np.bincount(row[seen], minlength=len(contexts))[place]
    num_different = np.bincount(np.searchsorted(contexts, followers // np.uint64(vocab_size)), minlength=len(contexts))
    at = np.searchsorted(followers, wanted).clip(max=max(len(followers) - 1, 0))
    found = (followers[at] == wanted) if len(followers) else np.zeros(len(wanted), dtype=bool)
    num_gram = np.where(found, num_followed[at] if len(followers) else 0, 0)
    kept = np.maximum(num_gram - _DISCOUNT, 0.0) + _DISCOUNT * num_different[place] * p
    result: np.ndarray = np.where(num_context > 0, kept / np.maximum(num_context, 1), p)
    return result


def _keys(columns: np.ndarray, vocab_size: int) -> np.ndarray:
    """uint64 [n]: the tokens of each n-gram, columns [order, n], as one number (exact up to vocabularies of 2^21)."""
    result = np.zeros(columns.shape[1], dtype=np.uint64)
    for column in columns:
        result = result * np.uint64(vocab_size) + column.astype(np.uint64)
    return result


def copy_gain(heldout: Ids, positions: np.ndarray, windows: np.ndarray, nats: np.ndarray, *, vocab_size: int) -> float:
    """Share of the trigram loss ``nats`` [positions] saved by copying within the ``windows`` [positions] they lie in.

    What followed the last earlier place in the window with the same two tokens before it is guessed with the
    probability that such guesses hit: p = (1 - hit rate) p_trigram + hit rate [guess is right].
    """
    keys = _keys(heldout.take(np.stack([positions - 2, positions - 1]), mode="wrap"), vocab_size)
    order = np.lexsort((positions, keys, windows))
    same = (keys[order][1:] == keys[order][:-1]) & (windows[order][1:] == windows[order][:-1])
    here, before = order[1:][same], order[:-1][same]
    hits = heldout[positions[here]] == heldout[positions[before]]
    if not hits.any():
        return 0.0
    rate = min(float(hits.mean()), 0.99)
    saved = np.log((1 - rate) * np.exp(-nats[here]) + rate * hits) + nats[here]
    return max(0.0, float(saved.sum() / nats.sum()))
