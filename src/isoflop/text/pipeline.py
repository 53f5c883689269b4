"""The way of a text from what people have to what a model can learn from: gathered, refined, freed of duplicates.

    files ─ gather ─▶ refined shards ─ sign, match, shingle, verify ─▶ clusters ─ keep ─▶ text/*.parquet, card.json

Every arrow is a stage of `receipts`: a rerun does what changed, a kill costs a shard, any `Executor` runs the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from isoflop.core import codec
from isoflop.core.card import CARD, CARD_VERSION, TEXT, Cluster, DataCard, Share, Tally, TextShard, place_of
from isoflop.core.errors import TextError
from isoflop.core.executor import Executor
from isoflop.core.files import claimed, write_checked_json
from isoflop.text import sift
from isoflop.text.collect.items import items
from isoflop.text.collect.sources import File, display, find
from isoflop.text.dedup.contamination import Benchmarks, write_benchmarks
from isoflop.text.dedup.lines import cut_lines
from isoflop.text.dedup.near import SIMILAR
from isoflop.text.dedup.partition import Clusters, find_clusters
from isoflop.text.gather import Source, gather, pieces
from isoflop.text.mixture import shares
from isoflop.text.parts import each
from isoflop.text.read import nothing_found
from isoflop.text.receipts import Done, Piece, Workshop
from isoflop.text.refine import Refinement, families
from isoflop.text.shards import REJECTS, Shelf, beginning

STAGES = "stages"
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
        shop = Workshop(out / STAGES, executor, tell)
        benchmarks = _benchmarks(recipe.against, shop.folder)
        gathered = shop.carry_out("gather", gather, _gathering(recipe, files, benchmarks))
        stages, shelves = [gathered], [Shelf(gathered.folder, shard) for shard in gathered.outputs if _is_kept(shard)]
        if not shelves:
            raise _nothing_left(recipe, [file for found in files for file in found], gathered.tally)
        if recipe.most_documents is not None:
            shelves, cutting = cut_lines(shelves, shop, least=recipe.most_documents)
            stages += cutting
        clusters = find_clusters(shelves, shop, similar=recipe.similar)
        mixture = _mixture(recipe, shelves, clusters)
        used = {share.source: share.used for share in mixture}
        sifting = sift.pieces(shelves, clusters, used, keeps_rejects=recipe.keeps_rejects)
        sifted = shop.carry_out("sift", sift.sift, sifting, folder=out / TEXT)
        stages += [*clusters.stages, sifted]
        card = _card(recipe, benchmarks, mixture, stages, watts, *_largest(shelves, clusters, executor))
        write_checked_json(out / CARD, codec.encode(card))
    return card


def _gathering(recipe: Recipe, files: Sequence[Sequence[File]], benchmarks: Benchmarks | None) -> list[Piece]:
    how = replace(recipe.refinement, benchmarks=benchmarks)
    return [
        piece
        for source, found in zip(recipe.sources, files, strict=True)
        for piece in pieces(source, found, how, keeps_rejects=recipe.keeps_rejects)
    ]


def _is_kept(shard: TextShard) -> bool:
    return not shard.file.endswith(REJECTS)


def _mixture(recipe: Recipe, shelves: Sequence[Shelf], clusters: Clusters) -> list[Share]:
    """What the sources' weights come to; nothing where none has one. Raises `TextError` for a source without text."""
    weights = {source.name: source.weight for source in recipe.sources if source.weight is not None}
    if not weights:
        return []
    tables = [shelf.table(["source", "num_bytes"]) for shelf in shelves]
    names = [name for table in tables for name in table["source"].to_pylist()]
    sizes = [size for table in tables for size in table["num_bytes"].to_pylist()]
    num_bytes = dict.fromkeys(weights, 0)
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        num_bytes[name] += size if clusters.near[number] == number else 0
    for name, total in num_bytes.items():
        if not total:
            raise TextError(f"nothing is left of source {name!r}", remedy="Leave it out, or ask for fewer --rules")
    return shares(num_bytes, weights)


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


def _card(
    recipe: Recipe,
    benchmarks: Benchmarks | None,
    mixture: list[Share],
    stages: Sequence[Done],
    watts: float,
    num_clusters: int,
    clusters: list[Cluster],
) -> DataCard:
    """What the stages' receipts say together."""
    return DataCard(
        version=CARD_VERSION,
        sources=[text for source in recipe.sources for text in source.inputs],
        recipe=codec.encode(recipe),
        tally=Tally.total([done.tally for done in stages]),
        shards=[replace(shard, file=f"{TEXT}/{shard.file}") for shard in stages[-1].outputs if _is_kept(shard)],
        num_clusters=num_clusters,
        clusters=clusters,
        costs=[done.cost(watts) for done in stages],
        benchmarks=dict(zip(benchmarks.names, benchmarks.num_items, strict=True)) if benchmarks else {},
        mixture=mixture,
    )


def _largest(shelves: Sequence[Shelf], clusters: Clusters, executor: Executor) -> tuple[int, list[Cluster]]:
    """How many clusters there are, and the largest."""
    sizes = np.bincount(clusters.near, minlength=len(clusters.near))
    largest = [first for first in np.argsort(-sizes, kind="stable")[:_NUM_CLUSTERS].tolist() if sizes[first] > 1]
    places = [place_of([shelf.shard for shelf in shelves], first) for first in largest]
    found = dict(each(_first_of_cluster, [(shelves[number], row) for number, row in places], executor))
    return int((sizes > 1).sum()), [
        Cluster(int(sizes[first]), *found[shelves[number].shard.file, row])
        for first, (number, row) in zip(largest, places, strict=True)
    ]


def _first_of_cluster(place: tuple[Shelf, int]) -> tuple[tuple[str, int], tuple[str, str]]:
    """By shard and row: where it came from, and how it begins."""
    shelf, number = place
    row = shelf.table().slice(number, 1).to_pylist()[0]
    where = " ".join(filter(None, (row["file"], row["place"])))
    return (shelf.shard.file, number), (where, beginning(row["text"].encode()))
