from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.collect import formats
from isoflop.text.collect.formats import Raw, jsonl, plain, table
from isoflop.text.collect.streams import Refused

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))


def blocks(data: bytes, size: int = 7) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(TEXT, st.integers(1, 9))
def test_a_plain_file_is_one_document_however_it_is_cut(text: str, size: int) -> None:
    data = text.encode()
    (found,) = plain(iter(blocks(data, size)))
    assert found == Raw(data.removeprefix(b"\xef\xbb\xbf"))


@pytest.mark.parametrize("data", [b"abc\xff", b"abc\xe2\x82", b"\x80", b"ab\0c"])
@pytest.mark.parametrize("size", [1, 2, 99])
def test_bad_bytes_are_named_by_their_place(data: bytes, size: int) -> None:
    bad = data.find(b"\0") if b"\0" in data else next(i for i in range(len(data)) if data[i] > 127)
    with pytest.raises(Refused) as caught:
        list(plain(iter(blocks(data, size))))
    assert caught.value.place == f"byte {bad}"
    assert caught.value.reason == ("binary" if b"\0" in data else "not_utf8")


@pytest.mark.parametrize("joint", ["\n\n", "\n", " ", "é"])
def test_a_long_file_is_cut_where_it_may_be(joint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 64)
    data = joint.join("abcdefgh" for _ in range(99)).encode()
    found = [raw for raw in plain(iter(blocks(data, 50))) if isinstance(raw, Raw)]
    assert b"".join(raw.data for raw in found) == data and len(found) > 5
    assert all(raw.data.decode() and len(raw.data) <= 200 for raw in found)
    if joint != "é":
        assert all(raw.data.endswith(joint.encode()) for raw in found[:-1])
    assert found[1].place == f"byte {len(found[0].data)}"


@given(st.lists(TEXT, max_size=5), st.integers(1, 40))
def test_lines_of_json_are_documents(texts: list[str], size: int) -> None:
    data = "\n".join(json.dumps({"id": 1, "text": text}) for text in texts).encode()
    found = list(jsonl(iter(blocks(data, size))))
    assert found == [Raw(text.encode(), f"line {i}") for i, text in enumerate(texts, start=1)]


def test_malformed_lines_are_named_and_the_rest_read() -> None:
    lines = [
        b'{"text": "a"}',
        b"{",
        b"[1]",
        b'{"text": 3}',
        b'{"text": null}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b"[" * 9999,
        b"",
        b'{"content": "b"}',
    ]
    found = list(jsonl(iter(blocks(b"\n".join(lines)))))
    assert [item.data for item in found if isinstance(item, Raw)] == [b"a", b"b"]
    told = [str(item) for item in found if isinstance(item, Refused)]
    assert told == [
        "not JSON at line 2", "no text field at line 3", "a text that is none at line 4", "no text field at line 5",
        "not JSON at line 6", "not UTF-8 at line 7", "not JSON at line 8",
    ]  # fmt: skip


def test_a_line_beyond_reason_is_skipped_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_RECORD_BYTES", 1000)
    data = b'{"text": "a"}\n' + b"x" * 5000 + b'\n{"text": "b"}'
    first, long, last = jsonl(iter(blocks(data)))
    assert isinstance(long, Refused) and long.reason == "too_long" and long.place == "line 2"
    assert first == Raw(b"a", "line 1") and last == Raw(b"b", "line 3")


def test_a_named_field_is_taken_and_no_other() -> None:
    data = b'{"body": "x", "text": "y"}\n{"text": "z"}'
    found = list(jsonl(iter([data]), "body"))
    assert found[0] == Raw(b"x", "line 1") and isinstance(found[1], Refused)


@given(st.lists(TEXT, max_size=5), st.integers(1, 40))
def test_rows_of_a_table_are_documents(texts: list[str], size: int) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "text"], *([str(i), text] for i, text in enumerate(texts))])
    found = list(table(iter(blocks(buffer.getvalue().encode(), size))))
    got = [raw.data.decode() for raw in found if isinstance(raw, Raw)]
    assert got == [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]


def test_rows_too_short_and_headers_without_text_are_named() -> None:
    found = list(table(iter([b'\xef\xbb\xbftext,id\n"a, ""b""\nc",1\n\nd\n'])))
    assert [item.data for item in found if isinstance(item, Raw)] == [b'a, "b"\nc', b"d"]
    (short,) = table(iter([b"id,text\n7\n"]))
    assert isinstance(short, Refused) and str(short) == "1 of 2 columns at line 2"
    with pytest.raises(Refused, match="no column named text or content among id, body"):
        list(table(iter([b"id,body\n1,x\n"])))
    assert list(table(iter([]))) == []


def test_tabs_part_columns_too() -> None:
    assert list(table(iter([b"id\tcontent\n1\tx, y\n"]), delimiter="\t")) == [Raw(b"x, y", "line 2")]
