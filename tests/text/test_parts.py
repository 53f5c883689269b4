"""Every document comes by once, with its own index, wherever it is worked on."""

import os
import pickle
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.fleet.local import Local
from isoflop.text import parts
from isoflop.text.document import Documents
from isoflop.text.parts import bounds, each, neighbours, spread
from isoflop.text.shards import Entry, stored, write_shard

TEXTS = [f"text {number} ".encode() * (number + 1) for number in range(9)]


def _read(documents: Documents) -> list[bytes]:
    return list(documents)


def on_disk(folder: Path) -> Documents:
    """The texts in three shards, in another order than they lie there."""
    shards = [
        write_shard(folder, f"{first}.parquet", [Entry(text, "s", "f", "p") for text in TEXTS[first : first + 3]])
        for first in (0, 3, 6)
    ]
    return stored(folder, shards).take(np.arange(len(TEXTS))[::-1])


@pytest.mark.parametrize("executor", [None, Local(1), Local(2)], ids=["none", "one", "two"])
def test_documents_on_disk_come_by_shards(tmp_path: Path, executor: Local | None) -> None:
    documents = on_disk(tmp_path)
    found = dict(pair for part, texts in spread(_read, documents, executor) for pair in zip(part, texts, strict=True))
    assert [found[index] for index in range(9)] == TEXTS[::-1]
    assert sorted(len(part) for part, _ in spread(_read, documents, None)) == [3, 3, 3]


def test_documents_in_memory_are_worked_on_here_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_PART_BYTES", 100)
    seen: list[list[bytes]] = []
    found = list(spread(lambda part: seen.append(list(part)), Documents.of(TEXTS), Local(2)))  # which cannot be sent
    assert list(chain(*seen)) == TEXTS and [part.tolist() for part, _ in found] == [[0, 1, 2, 3, 4], [5, 6, 7], [8]]
    assert list(spread(_read, Documents.of([]), None)) == []


def test_what_is_sent_elsewhere_has_no_more_than_its_own_texts(tmp_path: Path) -> None:
    few = np.array([7, 2])
    for documents in (Documents.of(TEXTS[::-1]), on_disk(tmp_path)):
        alone = documents.take(few).alone()
        assert list(alone) == [TEXTS[1], TEXTS[6]] and alone.names() == documents.take(few).names()
        assert len(pickle.dumps(alone)) < len(pickle.dumps(documents))


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 50))
def test_parts_end_with_what_takes_them_to_the_limit(sizes: list[int], limit: int) -> None:
    found = list(pairwise(bounds(np.array(sizes, dtype=np.int64), limit)))
    assert [i for first, last in found for i in range(first, last)] == list(range(len(sizes)))
    for first, last in found:
        assert sum(sizes[first : last - 1]) < limit and (sum(sizes[first:last]) >= limit or last == len(sizes))


@pytest.mark.parametrize("most", [1, 20, 10**6])
def test_neighbours_lie_in_one_file(tmp_path: Path, most: int) -> None:
    found = neighbours(on_disk(tmp_path), most)
    assert list(found) == TEXTS[::-1][: {1: 1, 20: 1}.get(most, 3)]
    assert len(neighbours(Documents.of([]), most)) == 0


@pytest.mark.parametrize(("executor", "count"), [(None, 4), (Local(1), 3)], ids=["here", "elsewhere"])
def test_only_another_process_is_given_whole_shards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executor: Local | None, count: int
) -> None:
    monkeypatch.setattr(parts, "_PART_BYTES", 100)
    assert len(list(spread(_read, on_disk(tmp_path), executor))) == count


def test_light_work_stays_here_where_the_executor_is_far() -> None:
    here = os.getpid()
    near, far = Local(2), Local(2)
    far.is_near = False
    assert set(each(_process, range(4), None)) == set(each(_process, range(4), far)) == {here}
    assert here not in set(each(_process, range(4), near))


def _process(number: int) -> int:
    return os.getpid()
