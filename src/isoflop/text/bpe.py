"""Byte-pair encoding learnt by compiled kernels: the words of a text merged pair by pair.

The merges are those of tokenizers' trainer (Sennrich, Haddow & Birch 2016; of pairs that are equally frequent the one
of smaller ids comes first), in a third of its time. Where a kernel goes round often it has arrays in names of its own:
one that is taken out of a tuple is counted in and out, atomically, each time.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from isoflop.text.characters import compiled, lean
from isoflop.text.hashing import BASE, FREE, Hashes, Small, longer, mixed, number_of, table_of, wider
from isoflop.text.words import ROOM, Numbers, Words

_COUNT, _STEP, _NODE = 0, 1, 2
_WORD, _BEFORE = 0, 1
_TIMES, _LENGTH, _HEAD = 0, 1, 2


class _Pairs(NamedTuple):
    """Pairs of neighbouring ids by number, in the order in which they came up, and the words in which they did: nodes,
    those of one pair and one merge in a chain."""

    slots: Small
    keys: Hashes
    """[room]: both ids in one."""
    known: Numbers
    """[room, 3]: how often each stands in the text; the last merge that made it stand anywhere; the last node of its
    chain."""
    nodes: Small
    """[nodes, 2]: where the word is, and the node before in its chain."""
    fresh: Numbers
    """[room]: the pairs of this merge."""
    filled: Numbers
    """[3]: how many pairs, nodes and fresh pairs there are."""


class _Neighbours(NamedTuple):
    """Ids that stand beside what one merge makes: by id, so that no pair is looked up for every place."""

    counts: Numbers
    """[ids]: how often, in the text."""
    chains: Small
    """[ids]: the last node of the words where that is."""
    found: Small
    """[ids]: those that there are."""
    filled: Numbers
    """[1]: and how many."""


def learn_merges(words: Words, byte_ids: Numbers, num_ids: int) -> Numbers:
    """[merges, 2]: the ids of the pairs to merge, one after another until there are ``num_ids`` ids or no pair is left.

    ``byte_ids`` [256] are those of single bytes; merges make the ids behind the largest of them, in their order.
    """
    assert not len(words.counts) or words.counts.max() < 1 << 31
    laid = _laid_out(words.texts.data, words.texts.offsets, words.counts, byte_ids)
    merges: Numbers = _merges(laid, len(words.counts), byte_ids, int(byte_ids.max()) + 1, num_ids)
    return merges


@compiled
def _laid_out(data: np.ndarray, offsets: Numbers, counts: Numbers, byte_ids: Numbers) -> Small:
    """Word behind word, so that all of one is found in one place: how often it stands in the text, how many ids it is
    now, the ids, with room for those that it began with."""
    laid, at = np.empty(len(data) + _HEAD * len(counts), np.int32), 0
    for word in range(len(counts)):
        laid[at + _TIMES], laid[at + _LENGTH] = counts[word], offsets[word + 1] - offsets[word]
        at += _HEAD
        for i in range(offsets[word], offsets[word + 1]):
            laid[at] = byte_ids[data[i]]
            at += 1
    return laid


@compiled
def _merges(laid: Small, num_words: int, byte_ids: Numbers, next_id: int, num_ids: int) -> Numbers:
    """Pairs wait in a heap, each with the words it stands in; a count that has changed since is set right when its pair
    comes up. What a merge spells may have been spelt by another one before: it has that one's id then."""
    pairs = _no_pairs(len(laid), num_ids)
    before, after = _no_neighbours(num_ids), _no_neighbours(num_ids)
    _find_pairs(laid, num_words, pairs)
    heap = [(np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    _push(heap, pairs)
    spelt, spellings, factors = _spellings(byte_ids)
    merges, num_merges = np.empty((num_ids, 2), np.int64), 0
    while next_id < num_ids and heap:
        negative, a, b, chain = heappop(heap)
        count = pairs.known[number_of(pairs.slots, pairs.keys, pairs.filled[0], _key(a, b)), _COUNT]
        if count != -negative:
            heappush(heap, (-count, a, b, chain))
            continue
        if count < 1:
            break
        spelling = spellings[a] * factors[b] + spellings[b]
        new = number_of(spelt, spellings, next_id, spelling)
        if new == next_id:
            factors[new] = factors[a] * factors[b]
            next_id += 1
        if num_merges == len(merges):
            break
        merges[num_merges, 0], merges[num_merges, 1] = a, b
        num_merges += 1
        _merge_all(laid, a, b, new, pairs, chain, before, after)
        pairs = _with_room(pairs, 4 * next_id)
        _recount(pairs, before, a, b, new, num_merges, True)
        _recount(pairs, after, a, b, new, num_merges, False)
        _push(heap, pairs)
    return merges[:num_merges]


@lean
def _find_pairs(laid: Small, num_words: int, pairs: _Pairs) -> None:
    """All pairs of bytes: how often each stands in the text, and in which words."""
    slots, keys, known, nodes, fresh = pairs.slots, pairs.keys, pairs.known, pairs.nodes, pairs.fresh
    num_pairs, num_nodes, word = 0, 0, 0
    for _ in range(num_words):
        first = word + _HEAD
        for i in range(first, first + laid[word + _LENGTH] - 1):
            number = _numbered(slots, keys, known, num_pairs, _key(np.int64(laid[i]), np.int64(laid[i + 1])))
            num_pairs = max(num_pairs, number + 1)
            known[number, _COUNT] += laid[word + _TIMES]
            known[number, _NODE] = _linked(nodes, num_nodes, word, known[number, _NODE])
            num_nodes = max(num_nodes, known[number, _NODE] + 1)
        word = first + laid[word + _LENGTH]
    for number in range(num_pairs):
        fresh[number] = number
    pairs.filled[0], pairs.filled[1], pairs.filled[2] = num_pairs, num_nodes, num_pairs


@lean
def _merge_all(
    laid: Small, a: int, b: int, new: int, pairs: _Pairs, chain: int, before: _Neighbours, after: _Neighbours
) -> None:
    """Puts ``new`` for every ``a`` before a ``b`` in all words of a chain, and notes what stands beside it."""
    nodes, num_nodes = pairs.nodes, pairs.filled[1]
    counts_before, chains_before, found_before, num_before = before.counts, before.chains, before.found, 0
    counts_after, chains_after, found_after, num_after = after.counts, after.chains, after.found, 0
    while chain != FREE:
        word = np.int64(nodes[chain, _WORD])
        times, first = laid[word + _TIMES], word + _HEAD
        end = first + laid[word + _LENGTH]
        out, i = first, first
        while i < end:
            if laid[i] != a or i + 1 == end or laid[i + 1] != b:
                laid[out] = laid[i]
                out, i = out + 1, i + 1
                continue
            if out > first:
                x = laid[out - 1]
                num_before = _met(counts_before, chains_before, found_before, num_before, x, times)
                chains_before[x] = _linked(nodes, num_nodes, word, chains_before[x])
                num_nodes = max(num_nodes, chains_before[x] + 1)
            if i + 2 < end:
                x = laid[i + 2]
                num_after = _met(counts_after, chains_after, found_after, num_after, x, times)
                chains_after[x] = _linked(nodes, num_nodes, word, chains_after[x])
                num_nodes = max(num_nodes, chains_after[x] + 1)
            laid[out] = new
            out, i = out + 1, i + 2
        laid[word + _LENGTH] = out - first
        chain = int(nodes[chain, _BEFORE])
    pairs.filled[1], before.filled[0], after.filled[0] = num_nodes, num_before, num_after


@lean
def _met(counts: Numbers, chains: Small, found: Small, num_found: int, x: int, times: int) -> int:
    """How many neighbours there are now that ``x`` was met ``times`` more."""
    if counts[x] == 0:
        found[num_found], chains[x] = x, FREE
        num_found += 1
    counts[x] += times
    return num_found


@lean
def _recount(pairs: _Pairs, neighbours: _Neighbours, a: int, b: int, new: int, step: int, are_before: bool) -> None:
    """Pairs with what stood before an ``a``, or behind a ``b``, stand with ``new``; the neighbours are forgotten."""
    slots, keys, known, nodes, fresh = pairs.slots, pairs.keys, pairs.known, pairs.nodes, pairs.fresh
    counts, chains, found = neighbours.counts, neighbours.chains, neighbours.found
    num_pairs, num_fresh = pairs.filled[0], pairs.filled[2]
    for k in range(neighbours.filled[0]):
        x = np.int64(found[k])
        number = _numbered(slots, keys, known, num_pairs, _key(x, a) if are_before else _key(b, x))
        num_pairs = max(num_pairs, number + 1)
        known[number, _COUNT] -= counts[x]
        number = _numbered(slots, keys, known, num_pairs, _key(x, new) if are_before else _key(new, x))
        num_pairs = max(num_pairs, number + 1)
        known[number, _COUNT] += counts[x]
        if known[number, _STEP] != step:
            known[number, _STEP], known[number, _NODE] = step, FREE
            fresh[num_fresh] = number
            num_fresh += 1
        if known[number, _NODE] != FREE:  # it has words of the other side too, where it is ``new`` twice
            _append(nodes, chains[x], known[number, _NODE])
        known[number, _NODE] = chains[x]
        counts[x] = 0
    pairs.filled[0], pairs.filled[2] = num_pairs, num_fresh


@lean
def _append(nodes: Small, chain: int, more: int) -> None:
    """The nodes of another chain to the far end of one."""
    first = np.int64(chain)
    while nodes[first, _BEFORE] != FREE:
        first = np.int64(nodes[first, _BEFORE])
    nodes[first, _BEFORE] = more


@lean
def _numbered(slots: Small, keys: Hashes, known: Numbers, num_pairs: int, key: np.uint64) -> int:
    """The number of a pair; a new one stands nowhere yet."""
    number = number_of(slots, keys, num_pairs, key)
    if number == num_pairs:
        known[number, _COUNT], known[number, _STEP], known[number, _NODE] = 0, FREE, FREE
    return number


@lean
def _linked(nodes: Small, num_nodes: int, word: int, last: int) -> int:
    """The last node of a chain that ended with ``last``, now that it has the word."""
    if last != FREE and nodes[last, _WORD] == word:
        return np.int64(last)  # type: ignore[return-value]
    nodes[num_nodes, _WORD], nodes[num_nodes, _BEFORE] = word, last
    return np.int64(num_nodes)  # type: ignore[return-value]


@compiled
def _push(heap: list[tuple[int, int, int, int]], pairs: _Pairs) -> None:
    """The fresh pairs onto the heap, the most frequent first, of those the one of smaller ids."""
    keys, known, fresh = pairs.keys, pairs.known, pairs.fresh
    for k in range(pairs.filled[2]):
        number = fresh[k]
        if known[number, _COUNT] > 0:
            key = keys[number]
            a, b = np.int64(key >> np.uint64(32)), np.int64(key & np.uint64(0xFFFFFFFF))
            heappush(heap, (-known[number, _COUNT], a, b, known[number, _NODE]))  # type: ignore[misc]
    pairs.filled[2] = 0


@lean
def _key(a: int, b: int) -> np.uint64:
    return (np.uint64(a) << np.uint64(32)) | np.uint64(b)


@compiled
def _no_pairs(num_symbols: int, num_ids: int) -> _Pairs:
    """A word's every symbol is merged at most once, which makes two nodes beside the first one."""
    slots, keys = table_of(ROOM)
    nodes = np.empty((3 * num_symbols, 2), np.int32)
    fresh, filled = np.empty(ROOM + 2 * num_ids, np.int64), np.zeros(3, np.int64)
    return _Pairs(slots, keys, np.empty((ROOM, 3), np.int64), nodes, fresh, filled)


@compiled
def _no_neighbours(num_ids: int) -> _Neighbours:
    chains, found = np.empty(num_ids, np.int32), np.empty(num_ids, np.int32)
    return _Neighbours(np.zeros(num_ids, np.int64), chains, found, np.zeros(1, np.int64))


@compiled
def _with_room(pairs: _Pairs, num_new: int) -> _Pairs:
    while pairs.filled[0] + num_new > len(pairs.keys):
        slots, keys = wider(pairs.keys, pairs.filled[0])
        known = longer(pairs.known.ravel()).reshape(-1, 3)
        pairs = _Pairs(slots, keys, known, pairs.nodes, pairs.fresh, pairs.filled)
    return pairs


@compiled
def _spellings(byte_ids: Numbers) -> tuple[Small, Hashes, Hashes]:
    """A table of ids by what they spell, polynomials over bytes (`hashing`), and the factors that stand for lengths."""
    room = 1 << 17  # more than the largest vocabulary
    slots, spellings = table_of(room)
    factors = np.empty(room, np.uint64)
    for byte in range(len(byte_ids)):
        number_of(slots, spellings, byte_ids[byte], mixed(np.uint64(byte + 1)))
        factors[byte_ids[byte]] = BASE
    return slots, spellings, factors
