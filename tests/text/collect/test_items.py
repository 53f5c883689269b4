"""A benchmark is read whole or refused by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoflop.core.errors import TextError
from isoflop.text.collect.items import items
from isoflop.text.collect.sources import find

ROWS = [{"question": "Why?", "choices": {"text": ["Because", "No"], "label": [1, 2]}}, {"question": "Who?"}]
TEXTS = [b"Why?\n\nBecause\n\nNo", b"Who?"]


def read(path: Path, data: bytes) -> list[bytes]:
    path.write_bytes(data)
    return items(find([path])[0])


def test_lines_of_jsonl_and_elements_of_json_are_items(tmp_path: Path) -> None:
    lines = "\n".join(map(json.dumps, ROWS)).encode() + b"\n\n"
    assert read(tmp_path / "a.jsonl", lines) == TEXTS
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(lines)) == TEXTS
    assert read(tmp_path / "A.JSON", json.dumps(ROWS, indent=1).encode()) == TEXTS
    assert read(tmp_path / "one.json", json.dumps(ROWS[0]).encode()) == TEXTS[:1]


def test_rows_of_parquet_and_documents_are_items(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "question": ["Why?", "Who?"]}), tmp_path / "a.parquet")
    assert items(find([tmp_path / "a.parquet"])[0]) == [b"Why?", b"Who?"]
    assert read(tmp_path / "my.jsonl notes.txt", b"not a line of it") == [b"not a line of it"]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", b'{"question": "Why?"}\n{"question": \n', r"a\.jsonl: .*not JSON.* at line 2"),
        ("a.json", b"[1, 2", r"a\.json: .*not JSON"),
        ("a.jsonl.gz", gzip.compress(b'"text"')[:-4], r"a\.jsonl\.gz: .*(cut off|ends)"),
        ("a.parquet", b"PAR1 nothing", r"a\.parquet: .*corrupt parquet"),
        ("a.txt", b"a\0b", r"a\.txt: .*binary"),
        ("a.xls", b"a", r"a\.xls: .*a format that is not read"),
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    with pytest.raises(TextError, match=told):
        read(tmp_path / name, data)
