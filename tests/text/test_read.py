from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.errors import TextError
from isoflop.text.collect.sources import File, find
from isoflop.text.read import fingerprint, keep_distinct, read
from toy import zstd


def texts(folder: Path) -> set[str]:
    return {data.decode() for data in read([folder]).documents}


def test_every_format_and_compression_gives_its_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "B.MD").write_text("# mark")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"zipped"))
    (tmp_path / "d.jsonl").write_text('{"text": "one"}\n\n{"content": "two"}\n')
    frames = zstd(b'{"text": "three"}\n') + zstd(b'{"text": "four"}\n')
    (tmp_path / "e.jsonl.zst").write_bytes(frames)
    pq.write_table(pa.table({"content": ["row", None, "row"]}), tmp_path / "f.parquet")
    reading = read([tmp_path])
    expected = {"plain", "# mark", "zipped", "one", "two", "three", "four", "row"}
    assert {data.decode() for data in reading.documents} == expected
    assert reading.num_files == 6
    assert reading.num_dropped == {"duplicate": 1, "missing_text": 1}


def test_byte_order_mark_is_stripped_and_line_ends_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "three"}\r\n')
    assert texts(tmp_path) == {"one\r\ntwo", "three"}


def test_malformed_lines_are_counted_and_the_first_named(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"{",
        b"[1]",
        b'{"text": 3}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b"[" * 99999,
    ]
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join(lines))
    reading = read([file])
    assert reading.num_dropped == {"malformed_line": 6}
    (warning,) = reading.warnings
    assert warning.code == "skipped_text"
    assert f"6 files or records: {file}: not JSON at line 2, {file}: no text field at line 3" in warning.message


@pytest.mark.parametrize(
    ("name", "data", "reason", "told"),
    [
        ("a.txt", b"ab\0c", "binary", "binary (NUL) at byte 2"),
        ("a.txt", b"abc\xffd", "not_utf8", "not UTF-8 (bad byte) at byte 3"),
        ("a.jsonl", '{"text": "x"}'.encode("utf-16-le"), "binary", "binary (NUL) at byte 1"),
        ("a.txt.gz", b"no gzip at all", "corrupt", "corrupt gz"),
        ("a.txt.gz", gzip.compress(os.urandom(5000).hex().encode())[:-40], "cut_off", "corrupt gz"),
        ("a.txt.zst", b"not zstd", "corrupt", "corrupt zst"),
        ("a.txt.zst", zstd(b"abc" * 9999)[:-3], "cut_off", "corrupt zst"),
        ("a.parquet", b"PAR1 but no more", "corrupt", "corrupt parquet"),
    ],
)
def test_damaged_files_are_skipped_with_the_reason(
    tmp_path: Path, name: str, data: bytes, reason: str, told: str
) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / name).write_bytes(data)
    reading = read([tmp_path])
    assert list(reading.documents) == [b"good"]
    assert reading.num_dropped == {reason: 1}
    assert f"skipped a file or record: {tmp_path / name}: {told}" in reading.warnings[0].message


def test_parquet_without_text_and_cut_off_parquet_are_skipped(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [str(i) * 50 for i in range(999)]}), tmp_path / "b.parquet")
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[10:60] = os.urandom(50)
    (tmp_path / "b.parquet").write_bytes(data)
    (tmp_path / "good.txt").write_text("good")
    reading = read([tmp_path])
    assert reading.num_dropped == {"no_text_column": 1, "corrupt": 1}
    assert "no column named text or content" in reading.warnings[0].message


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"nowhere: no such file or folder"):
        read([tmp_path / "nowhere"])
    with pytest.raises(TextError, match="the folder has no files"):
        read([tmp_path])
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    (tmp_path / "b.txt").write_bytes(b"\0")
    (tmp_path / "c.txt").write_bytes(b" \n")
    with pytest.raises(TextError, match=r"3 files \(\.pdf, \.txt\), 1 binary, 1 empty, 1 unknown_format"):
        read([tmp_path])


def test_fingerprint_knows_contents_not_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a.txt").write_text("x")
    (tmp_path / "one" / "b.txt").write_text("y")
    (tmp_path / "two" / "a.txt").write_text("y")
    (tmp_path / "two" / "z.txt").write_text("x")
    (tmp_path / "two" / "z.bin").write_text("ignored")
    first, second = fingerprint([tmp_path / "one"]), fingerprint([tmp_path / "two"])
    assert first == second == read([tmp_path / "one"]).fingerprint == read([tmp_path / "two"]).fingerprint
    digests = sorted(hashlib.sha256(text).digest() for text in (b"x", b"y"))
    assert first == hashlib.sha256(b"".join(digests)).hexdigest()
    (tmp_path / "two" / "z.txt").write_text("x ")
    assert fingerprint([tmp_path / "two"]) != first


@given(st.lists(st.text(max_size=20), max_size=20))
def test_keep_distinct_accounts_for_every_document(items: list[str]) -> None:
    texts = [item.encode() for item in items]
    dropped: Counter[str] = Counter()
    kept = keep_distinct(texts, dropped)
    assert len(kept) + dropped["empty"] + dropped["duplicate"] == len(items)
    assert set(kept) == {text for text in texts if text.strip()} and kept.names() == sorted(kept.names())
    assert list(kept) == list(keep_distinct(texts[::-1], Counter()))


def test_jsonl_holds_any_text(tmp_path: Path) -> None:
    nasty = "\u2028 line \x85 separators \x0b and \0 NUL \U0001f600 \ufeff"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": nasty}) + "\n" + json.dumps({"text": nasty + "!"}))
    assert texts(tmp_path) == {nasty, nasty + "!"}


@pytest.mark.parametrize("use", [read, fingerprint, find])
def test_a_folder_that_may_not_be_read_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[list[Path]], object]
) -> None:
    for name in ("a.txt", "closed/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    scandir = os.scandir

    def guarded(path: str) -> object:  # the tests may run as root, whom no permission stops
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(TextError, match=r"closed: cannot be read \(Permission denied\). Make it readable"):
        use([tmp_path])


def test_names_that_are_not_utf8_are_told_in_text_that_is(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.txt")).write_bytes(b"\0")
    (folder / os.fsdecode(b"\xfe.jsonl")).write_bytes(b"{")
    with pytest.raises(TextError, match="no text found") as caught:
        read([folder])
    (folder / "good.txt").write_text("good")
    (warning,) = read([folder]).warnings
    for message in (str(caught.value), warning.message):
        assert "caf\ufffd" in message and message.encode().decode() == message
    assert "\ufffd.jsonl: not JSON at line 1" in warning.message and "\ufffd.txt" in warning.message


def test_a_file_on_a_failing_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setattr(File, "open", lambda file: Failing())
    with pytest.raises(TextError, match=r"a\.txt: cannot be read \(Input/output error\)"):
        read([tmp_path])
