"""Our side of ``benchmarks/text.py``, a process of its own: TASK TEXTS.parquet OUT; one JSON line at the end."""

from __future__ import annotations

import json
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isoflop.fleet.local import Local
from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import find
from isoflop.text.collect.web import main_text
from isoflop.text.dedup.minhash import shingles, signatures
from isoflop.text.dedup.near import SIMILAR, clusters_of, jaccard
from isoflop.text.dedup.partition import find_clusters
from isoflop.text.encode import encoder_of, is_fast_right
from isoflop.text.quality.rules import GopherQuality, GopherRepetition, reasons
from isoflop.text.quality.statistics import statistics
from isoflop.text.receipts import Workshop
from isoflop.text.shards import SHARD_BYTES, Entry, Shelf, write_shard
from isoflop.text.texts import Texts, booleans

BATCH_DOCUMENTS = 256


def main() -> None:
    task, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    pa.set_cpu_count(1)
    import isoflop.text.kernels  # noqa: F401  what loading a compiled library is

    started = time.process_time()
    found, later = TASKS[task](source, out)
    print(json.dumps({"cpu_seconds": time.process_time() - started} | found | later()))


def batches(source: Path) -> Iterator[pa.RecordBatch]:
    """The texts, some at a time: fresh memory for all at once costs more than what is done with it."""
    yield from pq.ParquetFile(source).iter_batches(BATCH_DOCUMENTS, columns=["text"], use_threads=False)


def texts_of(batch: pa.RecordBatch) -> Texts:
    return Texts.of_arrow(batch.column("text"))


def filters(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    kinds = {"quality": [GopherQuality()], "repetition": [GopherRepetition()]}
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    num_bytes = 0
    for texts in map(texts_of, batches(source)):
        counted = statistics(texts)
        num_bytes += texts.num_bytes
        for name, rules in kinds.items():
            found[name] += reasons(rules, counted).tolist()
    return found | {"num_bytes": num_bytes}, dict


def sign(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    num_documents = num_bytes = 0
    for texts in map(texts_of, batches(source)):
        num_documents += len(signatures(texts))
        num_bytes += texts.num_bytes
    return {"num_documents": num_documents, "num_bytes": num_bytes}, dict


def dedup(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    """The stages of ``isoflop prepare`` behind shards of clean documents, and the documents that stay."""
    shutil.rmtree(out / "stages", ignore_errors=True)
    shelves = shelves_of(source, out / "stages")
    clusters = find_clusters(shelves, Workshop(out / "stages", Local(1)), similar=SIMILAR).near
    stays, first = clusters == np.arange(len(clusters)), 0
    with pq.ParquetWriter(out / "kept.parquet", pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for batch in batches(source):
            writer.write_batch(batch.filter(booleans(stays[first : first + len(batch)])))
            first += len(batch)
    num_bytes = sum(shelf.shard.num_bytes for shelf in shelves)
    told = {"dropped": np.flatnonzero(~stays).tolist(), "num_bytes": num_bytes}
    return told, lambda: truth(Texts.of([data for batch in batches(source) for data in texts_of(batch)]), clusters)


def shelves_of(source: Path, folder: Path) -> list[Shelf]:
    """The texts as shards."""
    shelves, entries, size = list[Shelf](), list[Entry](), 0

    def flush() -> None:
        shelves.append(Shelf(folder, write_shard(folder, f"{len(shelves)}.parquet", entries)))

    for batch in batches(source):
        for data in texts_of(batch):
            entries.append(Entry(data, "", "", ""))
            size += len(data)
            if size >= SHARD_BYTES:
                flush()
                entries, size = [], 0
    if entries:
        flush()
    return shelves


def truth(texts: Texts, clusters: np.ndarray) -> dict[str, Any]:
    """Of all pairs of Jaccard similarity .8 and more, found by comparing every two documents that share a shingle, the
    share that stands in one cluster; and of the documents that go, those that such pairs join to one that stays."""
    pairs = similar_pairs(texts)
    joined = [clusters[a] == clusters[b] for a, b in pairs]
    whole = clusters_of(len(texts), np.array(pairs))
    gone = clusters != np.arange(len(clusters))
    return {
        "num_true_pairs": len(pairs),
        "recall": float(np.mean(joined)) if pairs else 1.0,
        "precision": float((whole == whole[clusters])[gone].mean()) if gone.any() else 1.0,
    }


def similar_pairs(texts: Texts) -> list[tuple[int, int]]:
    """By prefix filtering (Bayardo, Ma & Srikant 2007): similar sets share one of their rarest shingles."""
    sets = [shingles(texts, i) for i in range(len(texts))]
    values, counts = np.unique(np.concatenate(sets), return_counts=True)
    rarity = dict(zip(values[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True))
    holders: dict[int, list[int]] = {}
    pairs: set[tuple[int, int]] = set()
    for i, one in enumerate(sets):
        shared = sorted((rarity[value], value) for value in one.tolist() if value in rarity)
        missing = len(one) - len(shared)  # shingles of this document alone come before all others
        prefix = len(one) - int(np.ceil(SIMILAR * len(one))) + 1 - missing
        rivals: set[int] = set()
        for _, value in shared[: max(prefix, 0)]:
            rivals.update(holders.get(value, ()))
            holders.setdefault(value, []).append(i)
        pairs.update((j, i) for j in rivals if jaccard(sets[j], one) >= SIMILAR)
    return sorted(pairs)


def encode(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    """Of every document a hash of its ids, as both sides make it."""
    texts = [text for batch in batches(source) for text in texts_of(batch)]
    serialized = (out / "tokenizer.json").read_text()
    right = all(is_fast_right(serialized, texts[half::2]) for half in (0, 1))
    ids = encoder_of(serialized, fast=right)(texts)
    told = {"num_bytes": sum(map(len, texts))}
    return told, lambda: {"ids": [zlib.crc32(one[:-1].astype("<u4").tobytes()) for one in ids]}


def read_all(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    """Seconds by format; documents and bytes of all."""
    seconds, count, size = {}, 0, 0
    for file in find([source]):
        started = time.process_time()
        for item in documents(file):
            if isinstance(item, Raw):
                count += 1
                size += len(item.data)
        seconds[Path(file.path).name] = time.process_time() - started
    return {"formats": seconds, "num_documents": count, "num_bytes": size}, dict


def html(source: Path, out: Path) -> tuple[dict[str, Any], Any]:
    pages = pq.read_table(source, use_threads=False)["html"].cast(pa.large_binary()).to_pylist()
    size = sum(len(main_text(page).decode()) for page in pages)
    return {"num_bytes": sum(map(len, pages)), "characters": size}, dict


TASKS = {"filters": filters, "signatures": sign, "dedup": dedup, "encode": encode, "read": read_all, "html": html}


if __name__ == "__main__":
    main()
