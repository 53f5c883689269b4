"""The parts of a file hold what the whole holds, each document once and in order."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.collect import spans as module
from isoflop.text.collect import streams
from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import File, find
from isoflop.text.collect.spans import spans
from isoflop.text.collect.streams import Refused, lines_within

TEXTS = [f"{'word ' * (i % 7)}{i} é" for i in range(300)]


def read(file: File) -> list[Raw | Refused]:
    return list(documents(file))


def texts(files: list[File]) -> list[str]:
    return [item.data.decode() for file in files for item in read(file) if isinstance(item, Raw)]


def written(path: Path) -> File:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": TEXTS}), path, row_group_size=17 if path.stem == "a" else 200)
    else:
        path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return find([path])[0]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "large-groups.parquet"])
@pytest.mark.parametrize("size", [100, 999])
def test_parts_together_are_the_whole(tmp_path: Path, name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / name)
    assert spans(file) == [file]
    monkeypatch.setattr(module, "SPAN_BYTES", size)
    parts = spans(file)
    assert len(parts) > 5 and texts(parts) == TEXTS == texts([file])
    assert len({replace(part, span=None, size=0) for part in parts}) == 1


def test_a_part_tells_places_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPAN_BYTES", 200)
    for name in ("a.parquet", "large-groups.parquet"):
        rows = [item.place for part in spans(written(tmp_path / name)) for item in read(part)]
        assert rows == [f"row {number}" for number in range(1, 301)]
    path = tmp_path / "a.jsonl"
    path.write_text(path.read_text() if path.exists() else "\n".join(['{"text": "one"}'] * 40 + ["{broken"] + ["{}"]))
    places = [item.place for part in spans(find([path])[0]) for item in read(part) if isinstance(item, Refused)]
    data = path.read_bytes()
    for place, line in zip(places, (b"{broken", b"{}"), strict=True):
        number, first = int(place.split()[1]), int(place.split()[-1])
        assert data[first:].split(b"\n")[number - 1] == line


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 90)), max_size=12), st.integers(1, 50))
def test_rows_are_divided_without_a_gap(groups: list[tuple[int, int]], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SPAN_BYTES", size)
        found = list(module._ranges(groups))
    rows = [row for first, last, _ in found for row in range(first, last)]
    assert rows == list(range(sum(num_rows for num_rows, _ in groups)))
    assert all(first < last for first, last, _ in found)


@given(st.lists(st.binary(max_size=9), max_size=12), st.lists(st.integers(0, 100), max_size=5), st.integers(1, 7))
def test_every_line_belongs_to_one_part(lines: list[bytes], cuts: list[int], block: int) -> None:
    data = b"\n".join(lines)
    bounds = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BLOCK_BYTES", block)
        found = [lines_within(io.BytesIO(data), *pair) for pair in pairwise(bounds)]
        parts = [(first, b"".join(blocks)) for first, blocks in found]
    assert b"".join(part for _, part in parts) == data
    assert all(data[first : first + len(part)] == part for first, part in parts)
    assert all(first == 0 or data[first - 1 : first] == b"\n" for first, part in parts if part)


def test_what_cannot_be_entered_in_the_middle_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPAN_BYTES", 10)
    for name in ("a.txt", "a.csv", "a.jsonl.gz", "damaged.parquet"):
        (tmp_path / name).write_bytes(b"text\n" * 50)
        (file,) = find([tmp_path / name])
        assert spans(file) == [file]
