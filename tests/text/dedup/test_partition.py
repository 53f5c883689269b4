"""Duplicates found on disk are those found in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError
from isoflop.fleet.local import Local
from isoflop.text.dedup import partition
from isoflop.text.dedup.near import near_duplicates
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


def with_exact(documents: list[bytes], clusters: np.ndarray) -> list[int]:
    """What memory finds, with copies that have no words."""
    firsts: dict[bytes, int] = {}
    return [int(clusters[firsts.setdefault(data, i)]) for i, data in enumerate(documents)]


@pytest.mark.parametrize("part_bytes", [1 << 28, 5_000])
def test_clusters_are_those_found_in_memory(tmp_path: Path, part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "PART_BYTES", part_bytes)
    documents = invented()
    expected = with_exact(documents, near_duplicates(Texts.of(documents)).clusters)
    clusters = found(tmp_path, documents)
    assert clusters.near.tolist() == expected
    assert len(set(expected)) < len(documents) - 30
    num_parts = len(clusters.stages[-1].receipts)
    assert num_parts == 1 if part_bytes > 10_000 else num_parts > 5


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
