from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoflop.text.collect import columns
from isoflop.text.collect.columns import arrow, parquet
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.streams import Refused

TABLE = pa.table({"id": [1, 2, 3], "text": ["one", None, "drei é"]})
EXPECTED = [Raw(b"one", "row 1"), "no text at row 2", Raw("drei é".encode(), "row 3")]


def as_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def as_arrow(table: pa.Table, *, stream: bool) -> bytes:
    buffer = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def told(items: object) -> list[object]:
    return [str(item) if isinstance(item, Refused) else item for item in items]  # type: ignore[attr-defined]


def test_rows_are_documents_and_missing_ones_are_named() -> None:
    assert told(parquet(io.BytesIO(as_parquet(TABLE)))) == EXPECTED


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_and_streams_are_read_alike(stream: bool) -> None:
    assert told(arrow(io.BytesIO(as_arrow(TABLE, stream=stream)))) == EXPECTED


def test_many_rows_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_ROWS", 7)
    texts = [f"text {i}" for i in range(100)]
    for column in (texts, pa.array(texts).dictionary_encode().cast(pa.string()), pa.array(texts, pa.large_string())):
        found = list(parquet(io.BytesIO(as_parquet(pa.table({"content": column})))))
        assert [item.data.decode() for item in found if isinstance(item, Raw)] == texts


@pytest.mark.parametrize("table", [pa.table({"body": ["x"]}), pa.table({"text": [1, 2]}), pa.table({"text": [["x"]]})])
def test_tables_without_a_column_of_texts_are_refused(table: pa.Table) -> None:
    for read, data in ((parquet, as_parquet(table)), (arrow, as_arrow(table, stream=True))):
        with pytest.raises(Refused) as caught:
            list(read(io.BytesIO(data)))
        assert caught.value.reason == "no_text_column"


@pytest.mark.parametrize("read", [parquet, arrow])
@pytest.mark.parametrize("data", [b"", b"PAR1 but no more", b"ARROW1\0\0 but no more", b"\xff\xff\xff\xff\x10\0\0\0"])
def test_damaged_files_are_refused(read: object, data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        list(read(io.BytesIO(data)))  # type: ignore[operator]
    assert caught.value.reason == "corrupt"


def test_damage_in_the_middle_is_refused_after_what_could_be_read() -> None:
    data = bytearray(as_parquet(pa.table({"text": [f"{i * i}" * 50 for i in range(999)]})))
    data[60:110] = bytes(50)
    with pytest.raises(Refused, match="corrupt parquet"):
        list(parquet(io.BytesIO(bytes(data))))


def test_text_that_is_not_utf8_is_named() -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"ab\xff")])
    (refused,) = parquet(io.BytesIO(as_parquet(pa.table({"text": bad}))))
    assert isinstance(refused, Refused) and refused.reason == "not_utf8" and refused.place == "row 1"
