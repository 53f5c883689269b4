"""Every document comes by once, with its own index, wherever it is worked on."""

import os
from itertools import chain
from pathlib import Path

import pytest

from isoflop.fleet.local import Local
from isoflop.text import parts
from isoflop.text.document import Document
from isoflop.text.parts import each, spread
from isoflop.text.shards import Entry, stored, write_shard

TEXTS = [f"text {number} ".encode() * (number + 1) for number in range(9)]


def _read(documents: list[Document]) -> list[bytes]:
    return [document.data for document in documents]


def on_disk(folder: Path) -> list[Document]:
    """The texts in three shards, in another order than they lie there."""
    shards = [
        write_shard(folder, f"{first}.parquet", [Entry(text, "s", "f", "p") for text in TEXTS[first : first + 3]])
        for first in (0, 3, 6)
    ]
    return stored(folder, shards)[::-1]


@pytest.mark.parametrize("executor", [None, Local(1), Local(2)], ids=["none", "one", "two"])
def test_documents_on_disk_come_by_shards(tmp_path: Path, executor: Local | None) -> None:
    documents = on_disk(tmp_path)
    found = dict(pair for part, texts in spread(_read, documents, executor) for pair in zip(part, texts, strict=True))
    assert [found[index] for index in range(9)] == TEXTS[::-1]
    assert sorted(len(part) for part, _ in spread(_read, documents, None)) == [3, 3, 3]


def test_documents_in_memory_are_worked_on_here_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "_PART_BYTES", 100)
    seen: list[list[Document]] = []
    documents = [*map(Document.of, TEXTS), *on_disk(tmp_path)]
    first, *_ = spread(seen.append, documents[:9], Local(2))  # a method of a list goes to no other process
    assert list(chain(*seen)) == documents[:9] and first == ([0, 1, 2, 3, 4], None)
    parts_of_all = [part for part, _ in spread(_read, documents, None)]
    assert list(chain(*parts_of_all))[:9] == list(range(9)) and sorted(chain(*parts_of_all)) == list(range(18))
    assert list(spread(_read, [], None)) == []


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
