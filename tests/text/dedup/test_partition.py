"""Duplicates found by bands and parts are those that a comparison of all with all finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError
from isoflop.fleet.local import Local
from isoflop.text.dedup import partition
from isoflop.text.dedup.minhash import shingles
from isoflop.text.dedup.near import clusters_of, jaccard
from isoflop.text.dedup.partition import Clusters, find_clusters
from isoflop.text.receipts import Workshop
from isoflop.text.shards import Entry, Shelf, write_shard
from isoflop.text.texts import Texts


def invented() -> list[bytes]:
    """Originals, copies of some with a few words changed, exact copies, and a few with nothing to compare."""
    rng = np.random.default_rng(3)
    words = np.array(["".join(chr(97 + i) for i in row) for row in rng.integers(0, 26, (500, 5))])
    documents = []
    for _ in range(60):
        original = rng.choice(words, 200)
        documents.append(" ".join(original))
        for share in rng.choice([0.0, 0.01, 0.05, 0.2], rng.integers(0, 4)):
            copy = original.copy()
            changed = rng.random(200) < share
            copy[changed] = rng.choice(words, int(changed.sum()))
            documents.append(" ".join(copy))
    rng.shuffle(documents)
    return [text.encode() for text in [*documents, "!!", "?", "!!", "a", "a"]]


def shelved(folder: Path, documents: list[bytes], num_shards: int) -> list[Shelf]:
    groups = np.array_split(np.arange(len(documents)), num_shards)
    return [
        Shelf(folder, write_shard(folder, f"{i}.parquet", [Entry(documents[j], "", "", "") for j in group]))
        for i, group in enumerate(groups)
    ]


def found(tmp_path: Path, documents: list[bytes], *, num_shards: int = 5, similar: float | None = 0.8) -> Clusters:
    shelves = shelved(tmp_path / "shards", documents, num_shards)
    return find_clusters(shelves, Workshop(tmp_path / "stages", Local(1)), similar=similar)


def by_brute_force(documents: list[bytes]) -> tuple[list[tuple[int, int]], np.ndarray]:
    """All pairs of Jaccard similarity .8 and more, or of the same bytes, and the clusters they make."""
    texts = Texts.of(documents)
    sets = [shingles(texts, i) for i in range(len(documents))]
    pairs = [
        (i, j)
        for i in range(len(documents))
        for j in range(i + 1, len(documents))
        if documents[i] == documents[j] or jaccard(sets[i], sets[j]) >= 0.8
    ]
    return pairs, clusters_of(len(documents), np.array(pairs))


def test_what_is_alike_is_found_and_nothing_else(tmp_path: Path) -> None:
    documents = invented()
    pairs, expected = by_brute_force(documents)
    near = found(tmp_path, documents).near
    joined = [near[i] == near[j] for i, j in pairs]
    assert len(pairs) > 50 and np.mean(joined) >= 0.98
    np.testing.assert_array_equal(expected[near], expected)  # whom it joins belongs together


def test_parts_small_enough_for_memory_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = invented()
    whole = found(tmp_path / "whole", documents)
    monkeypatch.setattr(partition, "PART_BYTES", 5_000)
    parts = found(tmp_path / "parts", documents)
    np.testing.assert_array_equal(parts.near, whole.near)
    assert len(whole.stages[-1].receipts) == 1 and len(parts.stages[-1].receipts) > 5


def test_the_threshold_decides(tmp_path: Path) -> None:
    """Copies with 15 of 100 words changed at the end are alike by .74."""
    rng = np.random.default_rng(1)
    words = np.array(["".join(chr(97 + i) for i in row) for row in rng.integers(0, 26, (40_000, 6))])
    originals = [rng.choice(words, 400) for _ in range(40)]
    copies = [np.concatenate([original[:340], rng.choice(words, 60)]) for original in originals]
    documents = [" ".join(each).encode() for each in [*originals, *copies]]
    assert found(tmp_path / "8", documents).near.tolist() == list(range(80))
    near = found(tmp_path / "7", documents, similar=0.7).near
    assert (near[40:] == np.arange(40)).mean() > 0.7  # 1 - (1 - .74^7)^16 = .87 are compared


def test_shards_of_any_number_give_the_same(tmp_path: Path) -> None:
    documents = invented()
    one, many = (found(tmp_path / str(n), documents, num_shards=n) for n in (1, 9))
    np.testing.assert_array_equal(one.near, many.near)
    np.testing.assert_array_equal(one.exact, many.exact)


def test_exact_duplicates_alone(tmp_path: Path) -> None:
    documents = invented()
    clusters = found(tmp_path, documents, similar=None)
    assert clusters.exact.tolist() == [documents.index(data) for data in documents]
    np.testing.assert_array_equal(clusters.near, clusters.exact)


def test_nothing_alike(tmp_path: Path) -> None:
    documents = [f"{i} alone with {'abc'[i % 3] * i} words".encode() for i in range(20)]
    clusters = found(tmp_path, documents)
    assert clusters.near.tolist() == list(range(20))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    shelves = shelved(tmp_path, invented(), 3)
    path = tmp_path / "1.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"1\.parquet"):
        find_clusters(shelves, Workshop(tmp_path / "stages", Local(1)), similar=0.8)
