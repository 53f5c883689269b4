"""The way of a text from what people have to what a model can learn from: gathered, refined, freed of duplicates.

    files ─ gather ─▶ refined shards ─ sign, match, shingle, verify ─▶ clusters ─ keep ─▶ text/*.parquet, card.json

Every arrow is a stage of `receipts`: a rerun does what changed, a kill costs a shard, any `Executor` runs the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoflop.core import codec
from isoflop.core.card import CARD, CARD_VERSION, Cluster, DataCard, Share, Tally, TextShard
from isoflop.core.errors import StudyError, TextError
from isoflop.core.executor import Executor
from isoflop.core.files import claimed, read_json, write_checked_json
from isoflop.text.collect.items import items
from isoflop.text.collect.sources import File, display, find
from isoflop.text.dedup.contamination import Benchmarks, write_benchmarks
from isoflop.text.dedup.lines import cut_lines
from isoflop.text.dedup.near import SIMILAR
from isoflop.text.dedup.partition import Clusters, Numbers, Shelf, find_clusters
from isoflop.text.gather import Source, gather, pieces
from isoflop.text.mixture import chosen, shares
from isoflop.text.read import nothing_found
from isoflop.text.receipts import Done, Outlet, Piece, Portion, carry_out, key_of
from isoflop.text.refine import Refinement, families
from isoflop.text.shards import beginning, read_shard, write_table

STAGES, TEXT = "stages", "text"
REJECTS = "-rejects.parquet"
VERSION = 1
"""Of the last stage; another one when its results change."""
_NUM_CLUSTERS = 5

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: tuple[Source, ...]
    refinement: Refinement = field(default_factory=Refinement)
    similar: float | None = SIMILAR
    """Jaccard similarity from which one of two documents goes; None: only exact duplicates go."""
    keeps_rejects: bool = False
    most_documents: int | None = None
    """A line that stands in so many documents or more is cut out of all; None: lines are not compared."""
    against: tuple[str, ...] = ()
    """Files of benchmarks; documents that hold part of one are dropped."""


@dataclass(frozen=True)
class _Sifting:
    """What the last stage is told of one shard."""

    shelf: Shelf
    stays: NDArray[np.bool_]
    """[documents]"""
    is_copy: NDArray[np.bool_]
    """[documents]: exact duplicates of an earlier one."""
    used: float
    """Of the documents that stay, by the mixture."""
    keeps_rejects: bool


def refine_text(
    recipe: Recipe, out: Path, *, executor: Executor, watts: float, tell: Tell = lambda stage, fraction: None
) -> DataCard:
    """Writes ``out/text/*.parquet`` and ``out/card.json``, which is written last. ``watts`` are a busy core's.

    Raises `TextError` for inputs that cannot be used or rules that do not exist, `StudyError` where another process
    works in ``out``, `DiskError`.
    """
    families(recipe.refinement.rules)
    files = [find(source.inputs) for source in recipe.sources]
    with claimed(out):
        stages = out / STAGES
        how = replace(recipe.refinement, benchmarks=_benchmarks(recipe.against, stages))
        work = [
            piece
            for source, found in zip(recipe.sources, files, strict=True)
            for piece in pieces(source, found, how, keeps_rejects=recipe.keeps_rejects)
        ]
        gathered = carry_out(
            "gather", gather, work, stages / "gather", executor=executor, progress=lambda share: tell("gather", share)
        )
        sources, shelves = _shelves(work, gathered)
        if not shelves:
            raise _nothing_left(recipe, [file for found in files for file in found], gathered.tally)
        cut: list[Done] = []
        if recipe.most_documents is not None:
            left, cut = cut_lines(shelves, stages, least=recipe.most_documents, executor=executor, progress=tell)
            sources = [source for source, shelf in zip(sources, left, strict=True) if shelf is not None]
            shelves = [shelf for shelf in left if shelf is not None]
        clusters = find_clusters(shelves, stages, similar=recipe.similar, executor=executor, progress=tell)
        mixture = _mixture(recipe, sources, shelves, clusters)
        used = {share.source: share.used for share in mixture}
        sifted = carry_out(
            "sift",
            sift,
            _siftings(shelves, [used.get(source, 1.0) for source in sources], clusters, recipe),
            out / TEXT,
            executor=executor,
            progress=lambda share: tell("sift", share),
        )
        stages_done = [gathered, *cut, *clusters.stages, sifted]
        card = replace(_card(recipe, shelves, clusters, sifted, stages_done, watts), mixture=mixture)
        if how.benchmarks is not None:
            card = replace(card, benchmarks=dict(zip(how.benchmarks.names, how.benchmarks.num_items, strict=True)))
        write_checked_json(out / CARD, codec.encode(card))
    return card


def _shelves(work: Sequence[Piece], gathered: Done) -> tuple[list[str], list[Shelf]]:
    """The shards of documents that passed, and of each the source: a piece of work has one alone."""
    both = [
        (piece.argument.source, Shelf(gathered.folder, shard))
        for piece, receipts in zip(work, gathered.receipts, strict=True)
        for receipt in receipts
        for shard in receipt.portion.outputs
        if not shard.file.endswith(REJECTS)
    ]
    return [source for source, _ in both], [shelf for _, shelf in both]


def _mixture(recipe: Recipe, sources: Sequence[str], shelves: Sequence[Shelf], clusters: Clusters) -> list[Share]:
    """What the sources' weights come to; nothing where none has one. Raises `TextError` for a source without text."""
    weights = {source.name: source.weight for source in recipe.sources if source.weight is not None}
    if not weights:
        return []
    num_bytes = dict.fromkeys(weights, 0)
    first = 0
    for source, shelf in zip(sources, shelves, strict=True):
        sizes = np.array(read_shard(shelf.folder, shelf.shard, ["num_bytes"])["num_bytes"].to_pylist(), dtype=np.int64)
        numbers = np.arange(first, first + len(sizes))
        num_bytes[source] += int(sizes[clusters.near[numbers] == numbers].sum())
        first += len(sizes)
    for name, size in num_bytes.items():
        if not size:
            raise TextError(f"nothing is left of source {name!r}", remedy="Leave it out, or ask for fewer --rules")
    return shares(num_bytes, weights)


def load_card(out: Path) -> DataCard:
    """The card of a prepared text. Raises `StudyError` where there is none or one of another version."""
    path = out / CARD
    if not path.is_file():
        raise StudyError("no prepared text here", where=str(out), remedy="Prepare one: isoflop prepare TEXT --out DIR")
    value = read_json(path)
    if value.get("version") != CARD_VERSION:
        found = f"a card of version {value.get('version')}, this isoflop reads {CARD_VERSION}"
        raise StudyError(found, where=str(path), remedy="Prepare the text again")
    card: DataCard = codec.decode(DataCard, value, where=str(path))
    return card


def _benchmarks(against: Sequence[str], stages: Path) -> Benchmarks | None:
    """The files' items as a table of hashes; one benchmark a file, called by its name without endings."""
    files = find(against) if against else []
    named = [(Path(file.name).name.split(".")[0], items(file)) for file in files]
    for (_, texts), file in zip(named, files, strict=True):
        if not any(text.strip() for text in texts):
            raise TextError("a benchmark without any text", where=file.name, remedy="Give jsonl, parquet or plain text")
    return write_benchmarks(named, stages) if named else None


def _nothing_left(recipe: Recipe, files: list[File], tally: Tally) -> TextError:
    inputs = [text for source in recipe.sources for text in source.inputs]
    if not tally.num_read - tally.dropped["empty"]:
        return nothing_found(inputs, files, dict(tally.refused + tally.dropped))
    reasons = ", ".join(f"{count} {reason}" for reason, count in tally.dropped.most_common(4))
    what = f"the rules drop all {tally.num_read} documents ({reasons})"
    return TextError(what, where=", ".join(map(display, inputs[:3])), remedy="Ask for fewer --rules, or none")


def _siftings(shelves: Sequence[Shelf], used: Sequence[float], clusters: Clusters, recipe: Recipe) -> list[Piece]:
    found, first = [], 0
    numbers = np.arange(len(clusters.near))
    stays, is_copy = clusters.near == numbers, clusters.exact != numbers
    for shelf, part in zip(shelves, used, strict=True):
        span = slice(first, first + shelf.shard.num_documents)
        argument = _Sifting(shelf, stays[span], is_copy[span], part, recipe.keeps_rejects)
        masks = [np.packbits(mask).tobytes().hex() for mask in (stays[span], is_copy[span])]
        found.append(Piece(key_of("sift", VERSION, shelf.shard.sha256, masks, part, recipe.keeps_rejects), argument))
        first = span.stop
    return found


def sift(argument: _Sifting, outlet: Outlet) -> Iterator[Portion]:
    """A stage's work: the documents of a shard that stay, and if asked those that go."""
    table = read_shard(argument.shelf.folder, argument.shelf.shard)
    tally = Tally()
    reasons = np.where(argument.is_copy, "exact_duplicate", "near_duplicate")
    reasons[argument.stays] = "mixture"
    stays = argument.stays & chosen(table["id"].to_pylist(), argument.used)
    for row in np.flatnonzero(~stays).tolist():
        data = table["text"][row].as_py().encode()
        tally.drop(str(reasons[row]), len(data), beginning(data))
    kept = table.filter(pa.array(stays))
    for source, size in zip(kept["source"].to_pylist(), kept["num_bytes"].to_pylist(), strict=True):
        tally.bytes_by_source[source] += size
    outputs = [write_table(outlet.folder, f"{outlet.stem}.parquet", kept)] if kept.num_rows else []
    if argument.keeps_rejects and not stays.all():
        gone = table.filter(pa.array(~stays))
        told = pa.array(reasons[~stays].tolist(), pa.string())
        gone = gone.set_column(gone.schema.get_field_index("reason"), "reason", told)
        outputs.append(write_table(outlet.folder, f"{outlet.stem}{REJECTS}", gone))
    yield Portion(outputs, tally)


def _card(
    recipe: Recipe, shelves: Sequence[Shelf], clusters: Clusters, sifted: Done, stages: Sequence[Done], watts: float
) -> DataCard:
    tally = Tally.total([done.tally for done in stages])
    sizes = np.bincount(clusters.near, minlength=len(clusters.near))
    largest = np.argsort(-sizes, kind="stable")[:_NUM_CLUSTERS]
    return DataCard(
        version=CARD_VERSION,
        sources=[text for source in recipe.sources for text in source.inputs],
        recipe=codec.encode(recipe),
        tally=tally,
        shards=[
            TextShard(f"{TEXT}/{shard.file}", shard.sha256, shard.num_documents, shard.num_bytes)
            for shard in sifted.outputs
            if not shard.file.endswith(REJECTS)
        ],
        num_clusters=int((sizes > 1).sum()),
        clusters=[_cluster(shelves, int(first), int(sizes[first])) for first in largest if sizes[first] > 1],
        costs=[done.cost(watts) for done in stages],
    )


def _cluster(shelves: Sequence[Shelf], first: int, size: int) -> Cluster:
    for shelf in shelves:
        if first < shelf.shard.num_documents:
            row = read_shard(shelf.folder, shelf.shard).slice(first, 1).to_pylist()[0]
            where = " ".join(filter(None, (row["file"], row["place"])))
            return Cluster(size, where, beginning(row["text"].encode()))
        first -= shelf.shard.num_documents
    raise AssertionError("a document number beyond the last")


def numbers_of(card: DataCard) -> Numbers:
    """[shards + 1]: the number of each shard's first document, and how many there are."""
    return np.cumsum([0, *(shard.num_documents for shard in card.shards)])
