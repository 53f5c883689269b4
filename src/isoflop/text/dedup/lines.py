"""Lines that stand in many documents: navigation, licences, signatures. They are taken out of all of them.

Two rounds, as for documents (`partition`): every shard counts in how many of its documents a line stands; the counts of
a line are brought together by its hash, part by part, so that memory holds one part; what is frequent is then cut out
of every shard. Lines are compared without the space around them, and only long ones: short ones are speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.core.card import Tally
from isoflop.text.characters import compiled
from isoflop.text.hashing import EMPTY, Hashes, extended, mixed
from isoflop.text.linewise import line_starts, only_lines, owners
from isoflop.text.receipts import Done, Outlet, Piece, Portion, Workshop, key_of
from isoflop.text.shards import Entry, Shelf, beginning, column_of_texts, write_numbers, write_shard
from isoflop.text.texts import Texts

VERSION = 1
"""Another one when results change."""
MIN_LINE_BYTES = 20
_PART_BITS = 4
"""Counts are added up in 2^4 parts of the hashes' range."""
_SPACE = ord(" ")


@dataclass(frozen=True)
class Part:
    """The counts of every shard, of which one part of the hashes is added up."""

    counts: tuple[Shelf, ...]
    number: int
    least: int


@dataclass(frozen=True)
class Cutting:
    shelf: Shelf
    frequent: tuple[Shelf, ...]
    """Files of the hashes of frequent lines."""


def cut_lines(shelves: Sequence[Shelf], shop: Workshop, *, least: int) -> tuple[list[Shelf], list[Done]]:
    """The shards without the lines that stand in ``least`` documents or more; what is left of them, in their order."""
    counting = [Piece(key_of("count", VERSION, s.shard.sha256), s, s.shard.num_bytes) for s in shelves]
    counted = shop.carry_out("count", count, counting)
    counts = tuple(Shelf(counted.folder, shard) for shard in counted.outputs)
    hashes = [shelf.shard.sha256 for shelf in counts]
    parts = [Part(counts, number, least) for number in range(1 << _PART_BITS)]
    adding = [Piece(key_of("frequent", VERSION, hashes, part.number, least), part) for part in parts]
    summed = shop.carry_out("frequent", frequent, adding)
    found = tuple(Shelf(summed.folder, shard) for shard in summed.outputs)
    wanted = [shelf.shard.sha256 for shelf in found]
    keys = [key_of("cut", VERSION, s.shard.sha256, wanted) for s in shelves]
    cutting = [Piece(key, Cutting(s, found), s.shard.num_bytes) for key, s in zip(keys, shelves, strict=True)]
    done = shop.carry_out("cut", cut, cutting)
    return [Shelf(done.folder, shard) for shard in done.outputs], [counted, summed, done]


def count(argument: Shelf, outlet: Outlet) -> Iterator[Portion]:
    """Writes uint64 [2, lines]: the hash of each line of the shard, sorted, and how many documents it stands in."""
    texts = argument.texts()
    starts = line_starts(texts)
    hashes, documents = line_hashes(texts, starts), owners(texts, starts)
    hashes, documents = hashes[hashes != EMPTY], documents[hashes != EMPTY]
    order = np.lexsort((documents, hashes))
    hashes, documents = hashes[order], documents[order]
    once = np.ones(len(hashes), dtype=bool)
    once[1:] = (hashes[1:] != hashes[:-1]) | (documents[1:] != documents[:-1])
    values, times = np.unique(hashes[once], return_counts=True)
    yield Portion([write_numbers(outlet.folder, f"{outlet.stem}.npy", np.stack([values, times.astype(np.uint64)]))])


def frequent(argument: Part, outlet: Outlet) -> Iterator[Portion]:
    """Writes the hashes, sorted, of one part's lines that stand in enough documents."""
    parts = []
    for shelf in argument.counts:
        table = shelf.numbers()
        bounds = np.searchsorted(table[0] >> np.uint64(64 - _PART_BITS), [argument.number, argument.number + 1])
        parts.append(table[:, bounds[0] : bounds[1]])
    together = np.concatenate(parts, axis=1)
    values, places = np.unique(together[0], return_inverse=True)
    sums = np.bincount(places, weights=together[1].astype(np.float64), minlength=len(values))
    yield Portion([write_numbers(outlet.folder, f"{outlet.stem}.npy", values[sums >= argument.least])])


def cut(argument: Cutting, outlet: Outlet) -> Iterator[Portion]:
    """Writes the shard's documents without frequent lines; a document of nothing else is dropped."""
    table = argument.shelf.table()
    texts = column_of_texts(table)
    starts = line_starts(texts)
    goes = np.isin(line_hashes(texts, starts), np.concatenate([shelf.numbers() for shelf in argument.frequent]))
    after = only_lines(texts, starts, ~goes)
    tally = Tally()
    tally.mended["repeated_lines"] = int(goes.sum())
    kept = []
    for before, left, row in zip(texts, after, table.drop_columns(["text"]).to_pylist(), strict=True):
        if left.strip():
            kept.append(Entry(left, row["source"], row["file"], row["place"]))
        else:
            tally.drop("repeated_lines_only", len(before), beginning(before))
    yield Portion([write_shard(outlet.folder, f"{outlet.stem}.parquet", kept)] if kept else [], tally)


def line_hashes(texts: Texts, starts: NDArray[np.int64]) -> Hashes:
    """[lines]: of each long line; ``EMPTY`` for a short one."""
    found = np.empty(len(starts) - 1, dtype=np.uint64)
    _hash_all(texts.data, starts, found)
    return found


@compiled
def _hash_all(data: NDArray[np.uint8], starts: NDArray[np.int64], found: Hashes) -> None:
    for line in range(len(found)):
        found[line] = _line_hash(data, starts[line], starts[line + 1])


@compiled
def _line_hash(data: NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """Of the line without spaces and control characters around it; ``EMPTY`` for a short one."""
    while start < end and data[start] <= _SPACE:
        start += 1
    while end > start and data[end - 1] <= _SPACE:
        end -= 1
    if end - start < MIN_LINE_BYTES:
        return EMPTY
    value = EMPTY
    for i in range(start, end):
        value = extended(value, np.int64(data[i]))
    return mixed(value)
