"""The last stage of a text's preparation: of every shard the documents that stay, and why the others go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoflop.core.card import Tally
from isoflop.text.dedup.partition import Clusters
from isoflop.text.mixture import chosen
from isoflop.text.receipts import Outlet, Piece, Portion, key_of
from isoflop.text.shards import REJECTS, Shelf, beginning, write_table
from isoflop.text.texts import booleans, strings

VERSION = 1
"""Another one when this stage's results change."""


@dataclass(frozen=True)
class Sifting:
    """What is told of one shard."""

    shelf: Shelf
    stays: NDArray[np.bool_]
    """[documents]: the first of their clusters."""
    is_copy: NDArray[np.bool_]
    """[documents]: exact duplicates of an earlier one."""
    used: Mapping[str, float]
    """Of a source's documents that stay, the part that the mixture takes; of others all."""
    keeps_rejects: bool


def pieces(
    shelves: Sequence[Shelf], clusters: Clusters, used: Mapping[str, float], *, keeps_rejects: bool
) -> list[Piece]:
    """One a shard, in their order."""
    found, first = [], 0
    numbers = np.arange(len(clusters.near))
    stays, is_copy = clusters.near == numbers, clusters.exact != numbers
    for shelf in shelves:
        span = slice(first, first + shelf.shard.num_documents)
        masks = [np.packbits(mask[span]).tobytes().hex() for mask in (stays, is_copy)]
        key = key_of("sift", VERSION, shelf.shard.sha256, masks, used, keeps_rejects)
        sifting = Sifting(shelf, stays[span], is_copy[span], used, keeps_rejects)
        found.append(Piece(key, sifting, shelf.shard.num_bytes))
        first = span.stop
    return found


def sift(argument: Sifting, outlet: Outlet) -> Iterator[Portion]:
    """A stage's work: writes ``STEM.parquet`` and, if asked, ``STEM-rejects.parquet``."""
    table = argument.shelf.table()
    sources = table["source"].to_pylist()
    used = np.array([argument.used.get(source, 1.0) for source in sources])
    stays = argument.stays & chosen(table["id"].to_pylist(), used)
    kept, gone = table.filter(booleans(stays)), _with_reasons(table, stays, argument)
    tally = Tally()
    for row in gone.to_pylist():
        tally.drop(row["reason"], row["num_bytes"], beginning(row["text"].encode()))
    for source, size in zip(kept["source"].to_pylist(), kept["num_bytes"].to_pylist(), strict=True):
        tally.bytes_by_source[source] += size
    outputs = [write_table(outlet.folder, f"{outlet.stem}.parquet", kept)] if kept.num_rows else []
    if argument.keeps_rejects and gone.num_rows:
        outputs.append(write_table(outlet.folder, f"{outlet.stem}{REJECTS}", gone))
    yield Portion(outputs, tally)


def _with_reasons(table: pa.Table, stays: NDArray[np.bool_], argument: Sifting) -> pa.Table:
    """The documents that go, each with why."""
    reasons = np.where(argument.stays, "mixture", np.where(argument.is_copy, "exact_duplicate", "near_duplicate"))
    gone = table.filter(booleans(~stays))
    told = strings([reason.encode() for reason in reasons[~stays].tolist()], pa.string())
    return gone.set_column(gone.schema.get_field_index("reason"), "reason", told)
