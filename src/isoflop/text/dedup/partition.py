"""Duplicates among documents that lie on disk, with memory for a few numbers of each; shards never meet in pairs.

What documents might share is brought together in two rounds. First the keys: a document's digest and the bands of its
signature (`near`); each is a row of its own that is sorted alone, and equal keys are candidates. Then the shingles of
candidates, by the cluster they would form: clusters are spread over parts small enough for memory, and pairs compared
there. Everything else is arithmetic on document numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.text.dedup.minhash import NO_SHINGLES, shingles, signatures
from isoflop.text.dedup.near import BAND_ROWS, NUM_BANDS, band_keys, clusters_of, jaccard, stars
from isoflop.text.hashing import Hashes
from isoflop.text.receipts import Done, Outlet, Piece, Portion, Workshop, key_of
from isoflop.text.shards import Shelf, column_of_texts, write_numbers

VERSION = 2
"""Another one when results change."""
PART_BYTES = 1 << 26
"""Shingles that are compared at a time, about."""
MATCHED_KEYS = 1 << 18
"""That are compared at a time, about."""
_SHINGLE_SHARE = 1.4
"""Bytes of shingles a byte of text."""
_DIGEST, _LENGTH, _BANDS = 0, 1, 2
"""Rows of a shard's keys; the bands are the last."""
_NOBODY = np.uint64(0)
"""The band of a document without words."""

Numbers = NDArray[np.int64]
Pairs = NDArray[np.int64]
"""[pairs, 2] of document numbers, the earlier first."""


@dataclass(frozen=True)
class Clusters:
    """Who is like whom, by document numbers: those of the shelves one after the other."""

    exact: Numbers
    """[documents]: the first document of the same text."""
    near: Numbers
    """[documents]: the first document of the cluster, of near and exact duplicates; that one is to stay."""
    stages: list[Done]


def find_clusters(shelves: Sequence[Shelf], shop: Workshop, *, similar: float | None) -> Clusters:
    """Exact duplicates, and near ones from a Jaccard similarity of ``similar`` on (None: exact ones alone)."""
    signing = [_piece("sign", shelf, shelf.shard.sha256, size=shelf.shard.num_bytes) for shelf in shelves]
    signed = shop.carry_out("sign", sign, signing)
    keys = [Shelf(signed.folder, shard) for shard in signed.outputs]
    rows = [_DIGEST, *(range(_BANDS, _BANDS + NUM_BANDS) if similar is not None else ())]
    inputs = [shelf.shard.sha256 for shelf in keys]
    at_once = max(1, MATCHED_KEYS // sum(shelf.shard.num_documents for shelf in keys))
    groups = [rows[first : first + at_once] for first in range(0, len(rows), at_once)]
    matched = shop.carry_out("match", match, [_piece("match", (keys, group), inputs, group) for group in groups])
    found = [Shelf(matched.folder, shard).numbers() for shard in matched.outputs]
    lengths = np.concatenate([shelf.numbers()[_LENGTH] for shelf in keys]).astype(np.int64)
    exact = clusters_of(len(lengths), found[0][lengths[found[0][:, 0]] == lengths[found[0][:, 1]]])
    if similar is None:
        return Clusters(exact, exact, [signed, matched])
    candidates = np.unique(exact[np.concatenate(found[1:])], axis=0)  # exact duplicates have one signature
    candidates = candidates[candidates[:, 0] != candidates[:, 1]]
    parts = _parts(candidates, lengths)
    shingled = shop.carry_out("shingle", shingle, _shingle_pieces(shelves, np.unique(candidates), parts))
    verified = shop.carry_out("verify", verify, _verify_pieces(shingled, candidates, parts[candidates[:, 0]]))
    similarities = [Shelf(verified.folder, shard).numbers() for shard in verified.outputs]
    order = np.argsort(parts[candidates[:, 0]], kind="stable")
    close = np.concatenate([*similarities, np.zeros(0)]) >= similar
    firsts = np.column_stack([exact, np.arange(len(exact))])
    near = clusters_of(len(exact), np.concatenate([firsts, candidates[order][close]]))
    return Clusters(exact, near, [signed, matched, shingled, verified])


def _piece(stage: str, argument: object, *inputs: object, size: int = 0) -> Piece:
    return Piece(key_of(stage, VERSION, *inputs), argument, size)


def sign(argument: Shelf, outlet: Outlet) -> Iterator[Portion]:
    """Writes uint64 [rows, documents]: digest, length, and the key of each band of the signature."""
    table = argument.table(["id", "text"])
    texts = column_of_texts(table)
    signed = signatures(texts, num_hashes=NUM_BANDS * BAND_ROWS)
    bands = band_keys(signed, NUM_BANDS, BAND_ROWS)
    bands[signed[:, 0] == NO_SHINGLES] = _NOBODY
    digests = [int.from_bytes(digest[:8], "little") for digest in table["id"].to_pylist()]
    rows = [np.array(digests, dtype=np.uint64), np.diff(texts.offsets).astype(np.uint64), *bands.T]
    yield Portion([write_numbers(outlet.folder, f"{outlet.stem}.npy", np.stack(rows), len(texts))])


def match(argument: tuple[Sequence[Shelf], Sequence[int]], outlet: Outlet) -> Iterator[Portion]:
    """Writes for each of some rows of keys the pairs that agree in it: each document with the first of its key."""
    shelves, rows = argument
    keys = np.concatenate([shelf.numbers()[rows] for shelf in shelves], axis=1)
    yield Portion(
        [
            write_numbers(outlet.folder, f"{outlet.stem}-{row}.npy", _pairs(mine, is_band=row >= _BANDS))
            for row, mine in zip(rows, keys, strict=True)
        ]
    )


def _pairs(keys: Hashes, *, is_band: bool) -> Pairs:
    documents = np.flatnonzero(keys != _NOBODY) if is_band else np.arange(len(keys))
    return stars(keys[documents], documents)


def shingle(argument: tuple[Shelf, Numbers, Numbers, int], outlet: Outlet) -> Iterator[Portion]:
    """Writes the shingles of some documents of a shard by their parts, and uint64 [documents, 4]: where whose are."""
    shelf, documents, parts, first = argument
    texts = shelf.texts()
    order = np.argsort(parts, kind="stable")
    found = [shingles(texts, int(document)) for document in documents[order]]
    ends = np.cumsum([len(each) for each in found])
    index = np.column_stack([documents[order] + first, parts[order], np.concatenate([[0], ends[:-1]]), ends])
    flat = write_numbers(outlet.folder, f"{outlet.stem}.npy", np.concatenate(found))
    yield Portion([flat, write_numbers(outlet.folder, f"{outlet.stem}-index.npy", index, len(documents))])


def verify(argument: tuple[Sequence[tuple[Shelf, Shelf]], Pairs, int], outlet: Outlet) -> Iterator[Portion]:
    """Writes the Jaccard similarities of one part's pairs, in their order."""
    shelves, pairs, part = argument
    sets: dict[int, Hashes] = {}
    for flat, index in shelves:
        values, where = flat.numbers(), index.numbers()
        for number, _, start, end in where[where[:, 1] == part].tolist():
            sets[number] = values[start:end]
    found = [jaccard(sets[a], sets[b]) for a, b in pairs.tolist()]
    yield Portion([write_numbers(outlet.folder, f"{outlet.stem}.npy", np.array(found, dtype=np.float64))])


def _parts(candidates: Pairs, lengths: Numbers) -> Numbers:
    """[documents]: in which part a document's pairs are compared; all of a cluster in one."""
    roots = clusters_of(len(lengths), candidates)
    involved = lengths[np.unique(candidates)].sum()
    num_parts = math.ceil((_SHINGLE_SHARE * float(involved) + 1) / PART_BYTES)
    parts: Numbers = roots % num_parts
    return parts


def _shingle_pieces(shelves: Sequence[Shelf], involved: Numbers, parts: Numbers) -> list[Piece]:
    """One a shard that has candidates."""
    found, first = [], 0
    for shelf in shelves:
        end = first + shelf.shard.num_documents
        mine = involved[(involved >= first) & (involved < end)]
        if len(mine):
            argument = (shelf, mine - first, parts[mine], first)
            size = shelf.shard.num_bytes
            found.append(_piece("shingle", argument, shelf.shard.sha256, _hex(mine), _hex(parts[mine]), size=size))
        first = end
    return found


def _verify_pieces(shingled: Done, candidates: Pairs, parts: Numbers) -> list[Piece]:
    """One a part that has pairs, in the order of the parts."""
    shelves = [Shelf(shingled.folder, shard) for shard in shingled.outputs]
    both = list(zip(shelves[::2], shelves[1::2], strict=True))
    inputs = [shelf.shard.sha256 for shelf in shelves]
    found = []
    for part in np.unique(parts).tolist():
        pairs = candidates[parts == part]
        found.append(_piece("verify", (both, pairs, part), inputs, _hex(pairs), part))
    return found


def _hex(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
