"""Byte-pair encoding learnt by compiled kernels: the words of a text merged pair by pair.

The merges are those of tokenizers' trainer (Sennrich, Haddow & Birch 2016; of pairs that are equally frequent the one
of smaller ids comes first), in a third of its time.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from isoflop.text.characters import compiled
from isoflop.text.hashing import BASE, FREE, Hashes, Small, longer, mixed, number_of, table_of, wider
from isoflop.text.words import ROOM, Numbers, Words

_COUNT, _STEP, _NODE = 0, 1, 2


class _Pairs(NamedTuple):
    """Pairs of neighbouring ids by number, in the order in which they came up, and the words in which they did: nodes,
    those of one pair and one merge in a chain."""

    slots: Small
    keys: Hashes
    """[room]: both ids in one."""
    known: Numbers
    """[room, 3]: how often each stands in the text; the last merge that made it stand anywhere; the last node of its
    chain."""
    words: Small
    """[nodes]"""
    links: Small
    """[nodes]: the one before in its chain."""
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
    ids, bounds = byte_ids[words.texts.data].astype(np.int32), words.texts.offsets
    begins, ends = bounds[:-1], bounds[1:].copy()  # words become shorter
    next_id = int(byte_ids.max()) + 1
    merges: Numbers = _merges(ids, begins, ends, words.counts, byte_ids, next_id, num_ids)
    return merges


@compiled
def _merges(
    ids: Small, begins: Numbers, ends: Numbers, counts: Numbers, byte_ids: Numbers, next_id: int, num_ids: int
) -> Numbers:
    """Pairs wait in a heap, each with the words it stands in; a count that has changed since is set right when its pair
    comes up. What a merge spells may have been spelt by another one before: it has that one's id then."""
    pairs = _no_pairs(len(ids), num_ids)
    before, after = _no_neighbours(num_ids), _no_neighbours(num_ids)
    for word in range(len(begins)):
        for i in range(begins[word] + 1, ends[word]):
            number = _known(pairs, np.int64(ids[i - 1]), np.int64(ids[i]), counts[word])
            _make_fresh(pairs, number, 0)
            pairs.known[number, _NODE] = _linked(pairs, word, pairs.known[number, _NODE])
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
        _merge_all(ids, begins, ends, counts, a, b, new, pairs, chain, before, after)
        pairs = _with_room(pairs, 4 * next_id)
        for k in range(before.filled[0]):
            x = np.int64(before.found[k])
            _known(pairs, x, a, -before.counts[x])
            _join(pairs, _known(pairs, x, new, before.counts[x]), before.chains[x], num_merges)
        for k in range(after.filled[0]):
            x = np.int64(after.found[k])
            _known(pairs, b, x, -after.counts[x])
            _join(pairs, _known(pairs, new, x, after.counts[x]), after.chains[x], num_merges)
        _forget(before)
        _forget(after)
        _push(heap, pairs)
    return merges[:num_merges]


@compiled
def _merge_all(
    ids: Small,
    begins: Numbers,
    ends: Numbers,
    counts: Numbers,
    a: int,
    b: int,
    new: int,
    pairs: _Pairs,
    chain: int,
    before: _Neighbours,
    after: _Neighbours,
) -> None:
    """Puts ``new`` for every ``a`` before a ``b`` in all words of a chain, and notes what stands beside it."""
    while chain != FREE:
        word = np.int64(pairs.words[chain])
        out, i, end = begins[word], begins[word], ends[word]
        while i < end:
            if ids[i] != a or i + 1 == end or ids[i + 1] != b:
                ids[out] = ids[i]
                out, i = out + 1, i + 1
                continue
            if out > begins[word]:
                _meet(before, pairs, ids[out - 1], word, counts[word])
            if i + 2 < end:
                _meet(after, pairs, ids[i + 2], word, counts[word])
            ids[out] = new
            out, i = out + 1, i + 2
        ends[word] = out
        chain = int(pairs.links[chain])


@compiled
def _meet(neighbours: _Neighbours, pairs: _Pairs, x: int, word: int, count: int) -> None:
    if neighbours.counts[x] == 0:
        neighbours.found[neighbours.filled[0]], neighbours.chains[x] = x, FREE
        neighbours.filled[0] += 1
    neighbours.counts[x] += count
    neighbours.chains[x] = _linked(pairs, word, neighbours.chains[x])


@compiled
def _forget(neighbours: _Neighbours) -> None:
    for k in range(neighbours.filled[0]):
        neighbours.counts[neighbours.found[k]] = 0
    neighbours.filled[0] = 0


@compiled
def _known(pairs: _Pairs, a: int, b: int, count: int) -> int:
    """The number of a pair, which stands in the text so many times more, or less."""
    number = number_of(pairs.slots, pairs.keys, pairs.filled[0], _key(a, b))
    if number == pairs.filled[0]:
        pairs.known[number, _COUNT], pairs.known[number, _STEP] = 0, FREE
        pairs.filled[0] += 1
    pairs.known[number, _COUNT] += count
    return number


@compiled
def _make_fresh(pairs: _Pairs, number: int, step: int) -> None:
    if pairs.known[number, _STEP] != step:
        pairs.known[number, _STEP], pairs.known[number, _NODE] = step, FREE
        pairs.fresh[pairs.filled[2]] = number
        pairs.filled[2] += 1


@compiled
def _join(pairs: _Pairs, number: int, chain: int, step: int) -> None:
    """That a pair came to stand in the words of a chain; in others too, where it is ``new`` twice."""
    _make_fresh(pairs, number, step)
    if pairs.known[number, _NODE] != FREE:
        first = chain
        while pairs.links[first] != FREE:
            first = pairs.links[first]
        pairs.links[first] = pairs.known[number, _NODE]
    pairs.known[number, _NODE] = chain


@compiled
def _linked(pairs: _Pairs, word: int, last: int) -> int:
    """The last node of a chain that ended with ``last``, now that it has the word."""
    if last != FREE and pairs.words[last] == word:
        return np.int64(last)  # type: ignore[return-value]
    node = pairs.filled[1]
    pairs.words[node], pairs.links[node] = word, last
    pairs.filled[1] += 1
    return np.int64(node)  # type: ignore[return-value]


@compiled
def _push(heap: list[tuple[int, int, int, int]], pairs: _Pairs) -> None:
    """The fresh pairs onto the heap, the most frequent first, of those the one of smaller ids."""
    for k in range(pairs.filled[2]):
        number = pairs.fresh[k]
        if pairs.known[number, _COUNT] > 0:
            key = pairs.keys[number]
            a, b = np.int64(key >> np.uint64(32)), np.int64(key & np.uint64(0xFFFFFFFF))
            heappush(heap, (-pairs.known[number, _COUNT], a, b, pairs.known[number, _NODE]))  # type: ignore[misc]
    pairs.filled[2] = 0


@compiled
def _key(a: int, b: int) -> np.uint64:
    return (np.uint64(a) << np.uint64(32)) | np.uint64(b)


@compiled
def _no_pairs(num_symbols: int, num_ids: int) -> _Pairs:
    """A word's every symbol is merged at most once, which makes two nodes beside the first one."""
    slots, keys = table_of(ROOM)
    words, links = np.empty(3 * num_symbols, np.int32), np.empty(3 * num_symbols, np.int32)
    fresh, filled = np.empty(ROOM + 2 * num_ids, np.int64), np.zeros(3, np.int64)
    return _Pairs(slots, keys, np.empty((ROOM, 3), np.int64), words, links, fresh, filled)


@compiled
def _no_neighbours(num_ids: int) -> _Neighbours:
    chains, found = np.empty(num_ids, np.int32), np.empty(num_ids, np.int32)
    return _Neighbours(np.zeros(num_ids, np.int64), chains, found, np.zeros(1, np.int64))


@compiled
def _with_room(pairs: _Pairs, num_new: int) -> _Pairs:
    while pairs.filled[0] + num_new > len(pairs.keys):
        slots, keys = wider(pairs.keys, pairs.filled[0])
        known = longer(pairs.known.ravel()).reshape(-1, 3)
        pairs = _Pairs(slots, keys, known, pairs.words, pairs.links, pairs.fresh, pairs.filled)
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
